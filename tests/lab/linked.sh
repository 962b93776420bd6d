#!/bin/bash
# linked.sh: a linked cluster of three control planes and two workers on real Kubernetes. Needs root, $K8S_LAB (programs, images,
# nodebase) and $LAB_SCRIPTS (node.sh).
#
# APPROVAL=strict has requests held until nobody else can make one with the same token; so it does with run.sh.
#
# Starts `muster serve`, applies linked.yaml, runs the five printed lines verbatim on five machines, and does nothing else. A watcher
# in the first machine notes when each bootstrap token's Secret comes and goes. Then it looks: all Ready, every token gone within 15 s
# of its node's join, no kubeadm-certs, nobody but Muster approves, cluster-info closed, and the chain of each node.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd) TOP=$(cd "$HERE/../.." && pwd) NODES=(n1 n2 n3 n4 n5)
# shellcheck source=tests/lab/lab.sh
. "$HERE/lab.sh"

say "commit $(git -C "$TOP" rev-parse HEAD)$(git -C "$TOP" diff --quiet HEAD || echo ' with uncommitted changes')"
"$K8S_LAB/bin/kubeadm" version -o short; "$BIN/muster" version --client

say "five machines"
for at in 1 2 3; do node up n$at 192.0.2.1$at; done
for at in 4 5; do IMAGES=pause node up n$at 192.0.2.1$at; done
for n in "${NODES[@]}"; do node exec "$n" cp "$BIN/muster-agent" /usr/bin/; done

say "muster serve"
serve

say "muster cluster apply"
apply "$HERE/linked.yaml" "${NODES[@]}"

say "the five lines, all at once"
START=$(date +%s)
for n in "${NODES[@]}"; do agent "$n"; done
( for _ in $(seq 600); do kubectl get nodes >/dev/null 2>&1 && break; sleep 0.5; done
  kubectl -n kube-system get secrets --watch --output-watch-events -o name 2>/dev/null | while read -r line; do echo "$(date +%s) $line"; done
) >"$WORK/secrets.txt" 2>/dev/null & WATCHER=$!

if ! muster wait cluster/lab --for control-planes=3,workers=2 --timeout "${PATIENCE:-8m}"; then
  muster get nodes -o wide; muster describe cluster lab; muster events | tail -40; tail -20 "$WORK/server.log"; echo "kept: $WORK"; exit 1
fi
echo "all Ready after $(( $(date +%s) - START )) s"
muster get nodes -o wide
sleep 15
say "Secrets that came and went (seconds since the lines were run)"
kill "$WATCHER"; WATCHER=''
awk -v start="$START" '{ $1 = $1 - start; print }' "$WORK/secrets.txt"
say "what Kubernetes has 15 s later"
kubectl get nodes -o wide --no-headers
kubectl -n kube-system get secrets
kubectl get csr -o custom-columns=NAME:.metadata.name,USER:.spec.username,SIGNER:.spec.signerName,REASON:.status.conditions[*].reason
kubectl get csr -o custom-columns=NAME:.metadata.name,MADE:.metadata.creationTimestamp,DECIDED:.status.conditions[*].lastUpdateTime
muster events | grep Csr || true
holds "all Nodes are Ready" "$(kubectl get nodes --no-headers | awk '$2 == "Ready"' | wc -l)" 5
holds "workers have the label that no kubelet may set" "$(kubectl get nodes -l node-role.kubernetes.io/worker -o name | wc -l)" 2
holds "workers have their pool's taint" "$(kubectl get nodes -o jsonpath='{.items[*].spec.taints[?(@.key=="muster.example/lab")].value}')" "yes yes"
holds "no Secret is left: no bootstrap token, no kubeadm-certs" "$(kubectl -n kube-system get secrets -o name | wc -l)" 0
approvals_hold
holds "cluster-info is closed to everybody" "$(ip netns exec ksw curl -sk -o /dev/null -w '%{http_code}' \
  https://192.0.2.11:6443/api/v1/namespaces/kube-public/configmaps/cluster-info)" 403
etcd_members; muster etcd list lab
say "the chain of a control plane and of a worker: hardware, key, token, request, Node"
muster describe node n3; muster describe node n5
muster describe cluster lab; muster token list
say "secrets"
scan "${NODES[@]}"
[ ! -e "$WORK/failed" ]
say "done"
