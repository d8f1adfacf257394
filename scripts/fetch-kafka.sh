#!/usr/bin/env bash
# Fetches the Apache Kafka that the tests start: the jars of tests/kafka/pom.xml from Maven Central
# (or what Maven's settings put in its place), compared with the digests in tests/kafka/jars.sha256,
# into .cache/kafka/VERSION/. Does nothing where they are there already.
#
#   scripts/fetch-kafka.sh
#
# Without Java, Maven or a registry it says so and ends with 0, because the tests then report what
# they did not run; with CI=true that is a failure. A jar with another digest always is.
# KAFKA_REPIN=1 writes the digests of what it fetched instead of comparing, after a change of the pom.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
pom=$root/tests/kafka/pom.xml
pinned=$root/tests/kafka/jars.sha256
version=$(sed -n '/<artifactId>kafka_/{n;s/.*<version>\(.*\)<.*/\1/p}' "$pom")
target=$root/.cache/kafka/$version

absent() {
    echo "fetch-kafka: $*" >&2
    echo "fetch-kafka: the tests against a real Apache Kafka WILL NOT RUN" >&2
    [ "${CI:-}" = true ] && exit 1
    exit 0
}
whole() { (cd "$1" && sha256sum --check --status --strict "$pinned" 2>/dev/null); }

if [ -z "${KAFKA_REPIN:-}" ] && [ -d "$target" ]; then
    whole "$target" && exit 0
    echo "fetch-kafka: $target is not what is pinned; fetching it again" >&2
fi
command -v java >/dev/null || absent "no java (17 or later) on the PATH; on Debian: apt-get install openjdk-17-jre-headless"
command -v mvn >/dev/null || absent "no mvn on the PATH; on Debian: apt-get install maven"

mkdir -p "$(dirname "$target")"
scratch=$(mktemp -d "$(dirname "$target")/.fetch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mvn -q -B -f "$pom" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$scratch/jars" >"$scratch/log" 2>&1 ||
    absent "mvn could not fetch the jars: $(grep -m1 ERROR "$scratch/log" || tail -n1 "$scratch/log")"

if [ -n "${KAFKA_REPIN:-}" ]; then
    (cd "$scratch/jars" && sha256sum -- *.jar) >"$pinned"
elif ! whole "$scratch/jars"; then
    echo "fetch-kafka: these jars are not those of $pinned; refusing them:" >&2
    (cd "$scratch/jars" && sha256sum --check --quiet --strict "$pinned") >&2 || true
    exit 1
fi
rm -rf "$target"
mv "$scratch/jars" "$target"   # same file system: nobody ever sees half of it
chmod 755 "$target"
echo "fetch-kafka: $target" >&2
