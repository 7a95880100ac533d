#!/usr/bin/env bash
# Puts redis-server, a C compiler for its module, a JDK, Maven, Prometheus and its Alertmanager on this
# machine where they are missing and may be installed; otherwise `meterline stack up` says what to
# install.
set -euo pipefail
wanted=()
command -v redis-server >/dev/null || wanted+=(redis-server)
command -v cc >/dev/null || wanted+=(gcc libc6-dev)
command -v java >/dev/null || wanted+=(default-jre-headless)
command -v mvn >/dev/null || wanted+=(maven)
command -v promtool >/dev/null || wanted+=(prometheus)
command -v amtool >/dev/null || wanted+=(prometheus-alertmanager)
[ ${#wanted[@]} -eq 0 ] && exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
  echo "installing ${wanted[*]}"
  apt-get update -qq
  # The run level of rescue: none of them is to run as a service of this machine.
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
else
  echo "missing: ${wanted[*]}; install them with the package manager of this machine" >&2
fi
