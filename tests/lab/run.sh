#!/bin/bash
# run.sh: Muster against real Kubernetes. Needs root, $K8S_LAB (programs, images, nodebase) and $LAB_SCRIPTS (node.sh).
#
# Starts `muster serve`, applies cluster.yaml, runs the four printed lines verbatim on four machines, and does nothing
# else: no kubectl, no approval. Meanwhile it kills the backup control plane's agent in the middle of etcd-join (and runs
# the same line again) and the server once. Then it looks: nodes, a plain join line on a fifth machine, and whether any
# secret of the run can be found where none may be.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd) TOP=$(cd "$HERE/../.." && pwd) NODES=(n1 n2 n3 n4 n5)
# shellcheck source=tests/lab/lab.sh
. "$HERE/lab.sh"
field() { muster get nodes "$1" -o json 2>/dev/null | python3 -c 'import json,sys
d=json.load(sys.stdin); d=d["items"][0] if "items" in d else d; print(d.get(sys.argv[1],""))' "$2" 2>/dev/null || true; }
await() { # NODE WORD...: until the node is in one of these phases
  local who=$1; shift
  for _ in $(seq 1200); do
    local now; now=$(field "$who" phase)
    for word in "$@"; do [ "$now" = "$word" ] && return 0; done
    sleep 0.1
  done
  echo "$who is $now, not one of $*"; return 1
}
say "commit $(git -C "$TOP" rev-parse HEAD)$(git -C "$TOP" diff --quiet HEAD || echo ' with uncommitted changes')"
"$K8S_LAB/bin/kubeadm" version -o short; "$BIN/muster" version --client; ls -l "$BIN/muster-agent"

say "four machines"
node up n1 192.0.2.11; node up n2 192.0.2.12
IMAGES=pause node up n3 192.0.2.13; IMAGES=pause node up n4 192.0.2.14
for n in n1 n2 n3 n4; do node exec $n cp "$BIN/muster-agent" /usr/bin/; done
# From here on every process' arguments are looked at, many times a second.
( set +e; while :; do cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' '; echo; sleep 0.02; done >"$WORK/cmdlines.txt" ) & WATCHER=$!

say "muster serve"
serve

say "muster cluster apply"
apply "$HERE/cluster.yaml" n1 n2 n3 n4

say "the four lines, all at once"
START=$(date +%s)
for n in n1 n2 n3 n4; do agent $n; done

say "the agent of n2 is killed as soon as kubeadm joins etcd"
# Watched from inside the machine: from outside it would be over before anybody looks.
node exec n2 timeout 300 sh -c 'until pgrep -f "[k]ubeadm join phase etcd-join" >/dev/null; do sleep 0.01; done
  pgrep -af "[k]ubeadm join phase"; pkill -KILL -x muster-agent && echo "killed the agent"'
echo "n2 is $(field n2 phase)"
say "the server is killed too"
kill -KILL "$SERVER"; wait "$SERVER" 2>/dev/null || true
serve
say "the same line again on n2"
agent n2

say "muster wait"
muster wait cluster/lab --for control-planes=2,workers=2 --timeout 15m
echo "all Ready after $(( $(date +%s) - START )) s"
muster get nodes -o wide
muster describe node n2
muster get permits; muster token list

say "join-command, run by a machine without an agent"
IMAGES=pause node up n5 192.0.2.15
muster join-command --cluster lab --node-name n5 >"$WORK/join-line"
sed 's/--token \([a-z0-9]*\)\.[a-z0-9]*/--token \1.…/' "$WORK/join-line"
kill "$WATCHER"; WATCHER='' # kubeadm's own --token is an argument by its nature: that is what the line is
node exec n5 bash -s <<<"$(cat "$WORK/join-line") --ignore-preflight-errors=SystemVerification" 2>&1 | tail -4

say "what Kubernetes says (looking only)"
for _ in $(seq 60); do
  kubectl get nodes --no-headers | grep -q NotReady || break; sleep 1
done
kubectl get nodes -o wide
kubectl -n kube-system get secrets
kubectl get csr -o custom-columns=NAME:.metadata.name,USER:.spec.username,SIGNER:.spec.signerName,REASON:.status.conditions[*].reason
approvals_hold
etcd_members

say "secrets"
scan n1 n2 n3 n4
say "done"
[ ! -e "$WORK/failed" ]
