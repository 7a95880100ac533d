#!/usr/bin/env bash
# Puts redis-server, a JDK, Maven and Prometheus on this machine where they are missing and may be
# installed; otherwise `meterline stack up` and the tests say what to install.
set -euo pipefail
wanted=()
command -v redis-server >/dev/null || wanted+=(redis-server)
command -v java >/dev/null || wanted+=(default-jre-headless)
command -v mvn >/dev/null || wanted+=(maven)
command -v prometheus >/dev/null || wanted+=(prometheus)
[ ${#wanted[@]} -eq 0 ] && exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
  echo "installing ${wanted[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
else
  echo "missing: ${wanted[*]}; install them with the package manager of this machine" >&2
fi
