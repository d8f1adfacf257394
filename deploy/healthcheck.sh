#!/bin/bash
# Is this container's worker alive? Asks /live, as Kubernetes would, with nothing but bash: the image
# has no curl, and the program has no verb for it. Exit code 0 or 1, as Docker wants it.
set -euo pipefail
address=${SQUEEZEFLOW__ADMIN__ADDRESS:-127.0.0.1:9464}
host=${address%:*}
host=${host#\[}
host=${host%\]}
# Every address, so also that of the machine itself.
case $host in
0.0.0.0) host=127.0.0.1 ;;
::) host=::1 ;;
esac
exec 3<>"/dev/tcp/$host/${address##*:}" || exit 1
printf 'GET /live HTTP/1.0\r\n\r\n' >&3
read -r -t 3 _ status _ <&3 || exit 1
[ "$status" = 200 ]
