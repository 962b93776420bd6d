#!/bin/bash
# import.sh: an existing cluster, made by plain `kubeadm init` without Muster, is extended. Needs root, $K8S_LAB (programs, images,
# nodebase) and $LAB_SCRIPTS (node.sh, cluster.sh).
#
# Starts `muster serve`, brings the cluster in with its admin.conf and its PKI, adds one control plane and one worker by their
# printed lines, and does nothing else: no kubectl that changes anything, no approval. Then it looks: nodes, etcd, who approved
# which request, tokens that are left, and whether any secret of the run can be found where none may be.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd) TOP=$(cd "$HERE/../.." && pwd) NODES=(n1 n2 n3 n4)
# shellcheck source=tests/lab/lab.sh
. "$HERE/lab.sh"
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
NEW=(n3); [ -n "${WORKERS_ONLY:-}" ] || NEW=(n2 n3)
apply "$WORK/import.yaml" "${NEW[@]}"
START=$(date +%s)
for n in "${NEW[@]}"; do agent "$n"; done

say "muster wait"
muster wait cluster/old --for "$([ -n "${WORKERS_ONLY:-}" ] || echo control-planes=1,)workers=1" --timeout 10m
echo "all Ready after $(( $(date +%s) - START )) s"
muster cluster describe old
for n in "${NEW[@]}"; do muster describe node "$n"; done
muster token list

say "a join line for one machine without an agent: one that has run out, and the one after it"
muster join-command --cluster old --node-name n4 --ttl 1m >"$WORK/line-before" 2>"$WORK/line-before.err"
sleep 65
IMAGES=pause node up n4 192.0.2.14
join() { timeout "$2" "$LAB_SCRIPTS/node.sh" exec n4 bash -s <<<"$(cat "$1") --ignore-preflight-errors=SystemVerification" 2>&1 | tail -4; }
join "$WORK/line-before" 20 || true # nobody knows its token any more: kubeadm would wait for minutes without a word
if kubectl get node n4 >/dev/null 2>&1; then echo 'n4 has joined with a token that had run out'; exit 1; fi
node exec n4 pkill -x kubeadm || true; node exec n4 kubeadm reset -f >/dev/null 2>&1 || true
muster join-command --cluster old --node-name n4 >"$WORK/line-after"
[ "$(grep -o 'token [a-z0-9]*' "$WORK/line-before")" != "$(grep -o 'token [a-z0-9]*' "$WORK/line-after")" ]
sed 's/--token \([a-z0-9]*\)\.[a-z0-9]*/--token \1.…/' "$WORK/line-after"
join "$WORK/line-after" 120
rm "$WORK/line-before" "$WORK/line-after"

say "what Kubernetes says (looking only)"
for _ in $(seq 60); do kubectl get nodes --no-headers | grep -q NotReady || break; sleep 1; done
kubectl get nodes -o wide
kubectl get csr
kubectl -n kube-system get secrets
kubectl get clusterrolebindings,rolebindings -A -o name | grep muster
etcd_members

say "the same credentials again"
muster cluster credentials old --kubeconfig "$WORK/admin.conf"
for _ in $(seq 50); do muster cluster describe old | grep -q '^Link: *Connected' && break; sleep 0.2; done
muster cluster describe old | grep -E '^(Link|Credentials):'

say "secrets"
muster cluster describe old -o json >"$WORK/describe-old.json"
scan "${NEW[@]}"
say "done"
