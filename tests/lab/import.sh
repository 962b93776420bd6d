#!/bin/bash
# import.sh: an existing cluster, made by plain `kubeadm init` without Muster, is extended. Needs root, $K8S_LAB (programs, images,
# nodebase) and $LAB_SCRIPTS (node.sh, cluster.sh).
#
# Starts `muster serve`, brings the cluster in with its admin.conf and its PKI, adds one control plane and one worker by their
# printed lines, and does nothing else: no kubectl that changes anything, no approval. Then it looks: nodes, etcd, who approved
# which request, tokens that are left, and whether any secret of the run can be found where none may be.
set -euo pipefail
: "${K8S_LAB:?folder with bin, images and nodebase}" "${LAB_SCRIPTS:?folder with node.sh and cluster.sh}"
export K8S_LAB
HERE=$(cd "$(dirname "$0")" && pwd) TOP=$(cd "$HERE/../.." && pwd)
BIN=${BIN:-$TOP/target/release} WORK=$(mktemp -d /tmp/muster-import-XXXXXX)
node() { "$LAB_SCRIPTS/node.sh" "$@"; }
say() { echo; echo "== $(date +%T) $*"; }
in_lab() { ip netns exec ksw env MUSTER_CONFIG="$WORK/operator/config.toml" "$@"; }
muster() { in_lab "$BIN/muster" "$@"; }
kubectl() { node exec n1 kubectl --kubeconfig /etc/kubernetes/admin.conf "$@"; }
cleanup() {
  set +e
  [ -n "${SERVER:-}" ] && kill "$SERVER"
  for n in n1 n2 n3; do [ -e "$K8S_LAB/nodes/$n/pid" ] && node down $n --purge; done
  node net-down x 2>/dev/null
} >/dev/null 2>&1
trap cleanup EXIT
serve() { # exec, so that the pid is the server's own
  ( exec ip netns exec ksw env MUSTER_CONFIG="$WORK/operator/config.toml" "$BIN/muster" serve --config "$WORK/server.toml" ) \
    >>"$WORK/server.log" 2>&1 &
  SERVER=$!
  for _ in $(seq 300); do
    ip netns exec ksw curl -sf http://192.0.2.1:9080/readyz >/dev/null && return 0; sleep 0.1
  done
  cat "$WORK/server.log"; return 1
}
agent() { # NODE: runs the printed line of that node, as it was printed, by a POSIX shell
  node exec "$1" sh -s <<<"$(cat "$WORK/line-$1")" >>"$WORK/agent-$1.log" 2>&1 &
}
refused() { # what must not be taken, and why it is not
  if muster "$@" 2>&1; then echo "taken: $*"; return 1; fi
}

say "commit $(git -C "$TOP" rev-parse HEAD)$(git -C "$TOP" diff --quiet HEAD || echo ' with uncommitted changes')"
say "a cluster made by kubeadm init alone"
"$LAB_SCRIPTS/cluster.sh" up 1 0
node exec n1 cat /etc/kubernetes/admin.conf >"$WORK/admin.conf"
mkdir -p "$WORK/pki/etcd"
for f in ca.crt ca.key front-proxy-ca.crt front-proxy-ca.key sa.key sa.pub etcd/ca.crt etcd/ca.key; do
  node exec n1 cat "/etc/kubernetes/pki/$f" >"$WORK/pki/$f"
done
chmod -R go= "$WORK"
IMAGES=pause node up n3 192.0.2.13; node up n2 192.0.2.12
for n in n2 n3; do node exec $n cp "$BIN/muster-agent" /usr/bin/; done

say "muster serve"
printf '[server]\ndata_dir = "%s/data"\nlisten = "192.0.2.1"\nadvertise = "192.0.2.1"\n[seal]\npath = "%s/seal.key"\n' "$WORK" "$WORK" >"$WORK/server.toml"
serve

say "what is refused"
sed 's/client-certificate-data: .*/exec: {command: aws}/' "$WORK/admin.conf" >"$WORK/exec.conf"
refused cluster import old --kubeconfig "$WORK/exec.conf"
refused cluster import old --kubeconfig "$WORK/admin.conf" --kubernetes v1.35.0
refused cluster import old --kubeconfig "$WORK/admin.conf" --endpoint 192.0.2.99:6443

say "muster cluster import"
if [ -n "${WORKERS_ONLY:-}" ]; then
  muster cluster import old --kubeconfig "$WORK/admin.conf"
  refused cluster apply -f "$HERE/import.yaml"
  python3 - "$HERE/import.yaml" >"$WORK/import.yaml" <<'P'
import re, sys
text = open(sys.argv[1]).read()
print(re.sub(r"    - name: control-plane\n(      .*\n)+", "", text), end="")
P
else
  muster cluster import old --kubeconfig "$WORK/admin.conf" --pki "$WORK/pki"
  cp "$HERE/import.yaml" "$WORK/import.yaml"
fi
NODES=$([ -n "${WORKERS_ONLY:-}" ] && echo n3 || echo n2 n3)
muster cluster apply -f "$WORK/import.yaml" | tee "$WORK/apply.txt" | sed 's/mst-\([a-z0-9]*\)-[a-z0-9]*/mst-\1-…/'
for n in $NODES; do
  awk -v n="$n" '$1=="#" && $2==n {getline; print}' "$WORK/apply.txt" >"$WORK/line-$n"
  grep -q muster-agent "$WORK/line-$n"
done
grep -o 'mst-[a-z0-9]*-[a-z0-9]*' "$WORK/apply.txt" >"$WORK/tokens.txt"
START=$(date +%s)
for n in $NODES; do agent $n; done

say "muster wait"
muster wait cluster/old --for "$([ -n "${WORKERS_ONLY:-}" ] || echo control-planes=1,)workers=1" --timeout 10m
echo "all Ready after $(( $(date +%s) - START )) s"
muster cluster describe old
for n in $NODES; do muster describe node $n; done
muster token list

say "what Kubernetes says (looking only)"
for _ in $(seq 60); do kubectl get nodes --no-headers | grep -q NotReady || break; sleep 1; done
kubectl get nodes -o wide
kubectl get csr
kubectl -n kube-system get secrets
kubectl get clusterrolebindings,rolebindings -A -o name | grep muster
node exec n1 etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/kubernetes/pki/etcd/ca.crt \
  --cert /etc/kubernetes/pki/etcd/healthcheck-client.crt --key /etc/kubernetes/pki/etcd/healthcheck-client.key member list -w table

say "the same credentials again"
muster cluster credentials old --kubeconfig "$WORK/admin.conf"
for _ in $(seq 50); do muster cluster describe old | grep -q '^Link: *Connected' && break; sleep 0.2; done
muster cluster describe old | grep -E '^(Link|Credentials):'

say "secrets"
muster events -o json >"$WORK/events.json"; ip netns exec ksw curl -s http://192.0.2.1:9080/metrics >"$WORK/metrics.txt"
for n in $NODES; do muster logs node/$n >"$WORK/logs-$n.txt"; muster describe node $n -o json >"$WORK/describe-$n.json"; done
muster cluster describe old -o json >"$WORK/describe-old.json"
kill "$SERVER"; wait "$SERVER" 2>/dev/null || true; SERVER=''
"$BIN/secret_scan" "$WORK/data" "$WORK/seal.key" --also "$WORK/tokens.txt" \
  "$WORK/data" "$WORK"/server.log "$WORK"/agent-n*.log "$WORK"/logs-n*.txt "$WORK"/events.json "$WORK"/metrics.txt "$WORK"/describe-*.json
say "done"
