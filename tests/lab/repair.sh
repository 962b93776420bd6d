#!/bin/bash
# repair.sh: control planes that die, on real Kubernetes. Needs root, $K8S_LAB (programs, images, nodebase) and $LAB_SCRIPTS (node.sh).
#
# A linked cluster (linked.yaml, control planes only). A backup control plane's machine is destroyed in the middle of joining etcd, when it
# is a learner that has not started: the other one waits, its node is removed, Muster takes the learner out, the other joins. The machine comes back
# empty and joins. Then one that votes is destroyed, and comes back empty under new keys: an operator has its old member taken out, gives the machine its place,
# and it joins again. At last the machine of the endpoint dies, and the link goes on by another control plane.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd) TOP=$(cd "$HERE/../.." && pwd) NODES=(n1 n2 n3)
# shellcheck source=tests/lab/lab.sh
. "$HERE/lab.sh"

up() { # NODE [MAC]: a machine with nothing on its disk
  node up "$1" "192.0.2.1${1#n}"
  [ -z "${2:-}" ] || ip -n "kn-$1" link set eth0 address "$2"
  node exec "$1" cp "$BIN/muster-agent" /usr/bin/
}
mac() { ip -n "kn-$1" -br link show eth0 | awk '{print $3}'; }
await() { # WHAT COMMAND: until it prints something
  for _ in $(seq 900); do
    [ -n "$(eval "$2" 2>/dev/null)" ] && { echo "$(date +%T) $1"; return 0; }; sleep 0.2
  done
  echo "has not come: $1"; muster get nodes -o wide; muster etcd list lab; muster events | tail -30; return 1
}
etcd() { node exec n1 etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/kubernetes/pki/etcd/ca.crt \
  --cert /etc/kubernetes/pki/etcd/healthcheck-client.crt --key /etc/kubernetes/pki/etcd/healthcheck-client.key "$@"; }
token() { # NODE: a new line for it
  muster token create --cluster lab --pool cp --node "$1" >"$WORK/token-$1" 2>&1
  grep -o 'mst-[a-z0-9]*-[a-z0-9]*' "$WORK/token-$1" | head -1 >>"$WORK/tokens.txt"
  grep -m1 muster-agent "$WORK/token-$1" >"$WORK/line-$1"
}

say "commit $(git -C "$TOP" rev-parse HEAD)$(git -C "$TOP" diff --quiet HEAD || echo ' with uncommitted changes')"
for n in "${NODES[@]}"; do up "$n"; done
serve
apply "$HERE/linked.yaml" "${NODES[@]}"
agent n1
muster wait cluster/lab --for control-planes=1 --timeout 4m

say "two more, and the one that joins etcd first is destroyed while its member is a learner that never ran"
agent n2; agent n3
DEAD=''
for _ in $(seq 3000); do
  DEAD=$(etcd member list 2>/dev/null | awk -F', ' '$2 == "unstarted" { split($4, at, /[.:]/); sub("1", "n", at[5]); print at[5] }')
  [ -z "$DEAD" ] || break
done
[ -n "$DEAD" ]; node down "$DEAD" --purge
OTHER=n2; [ "$DEAD" = n2 ] && OTHER=n3
etcd member list
echo "$DEAD is destroyed; $OTHER waits"
muster describe node "$OTHER" | grep -E '^(Phase|Message)'
holds "the learner is still there" "$(etcd member list | grep -c unstarted)" 1
muster node remove "$DEAD" --reason "its machine is gone" -y
muster wait cluster/lab --for control-planes=2 --timeout 5m
holds "two members vote, and nothing else is in etcd" "$(etcd member list | awk -F', ' '$2 == "started" && $6 == "false"' | wc -l) $(etcd member list | wc -l)" "2 2"
muster events | grep -iE 'etcd|permit' | tail -8

say "the machine comes back with nothing on its disk"
up "$DEAD"; token "$DEAD"; agent "$DEAD"
muster wait cluster/lab --for control-planes=3 --timeout 5m
holds "three members vote" "$(etcd member list | awk -F', ' '$2 == "started" && $6 == "false"' | wc -l)" 3
muster etcd list lab

say "a voter is destroyed, and its machine installed anew: same hardware, other keys"
MAC=$(mac n2); node down n2 --purge
await "etcd is seen without it" "muster etcd list lab | grep -i 'n2.*no'"
up n2 "$MAC"; token n2; agent n2
await "it waits for an operator" "muster get nodes | grep PendingApproval"
muster get nodes
ID=$(muster get nodes -o json | python3 -c 'import json,sys
print(next(n["id"] for n in json.load(sys.stdin)["items"] if n.get("phase")=="PendingApproval"))')
muster node approve "$ID" --pool cp --name n2 --replace -y 2>&1 | tee "$WORK/refused.txt" || true
MEMBER=$(grep -o 'muster etcd remove lab [0-9a-f]*' "$WORK/refused.txt" | head -1 | awk '{print $5}')
muster etcd remove lab "$MEMBER" --reason "its machine was installed anew" -y
await "the old member is out" "muster etcd list lab | grep -q $MEMBER || echo gone"
muster node approve "$ID" --pool cp --name n2 --replace -y
muster wait cluster/lab --for control-planes=3 --timeout 6m
holds "three members vote, and no old one is left" "$(etcd member list | awk -F', ' '$2 == "started" && $6 == "false"' | wc -l) $(etcd member list | wc -l)" "3 3"
muster etcd list lab; muster get nodes -o wide

say "the machine of the endpoint dies"
node down n1
kubectl() { node exec n2 kubectl --kubeconfig /etc/kubernetes/admin.conf --server https://192.0.2.12:6443 "$@"; }
await "the API says that n1 is NotReady" "muster describe node n1 | grep -i 'Node is NotReady'"
muster describe cluster lab | grep -E '^(Link|Name|Control planes)'
holds "the link goes on by another control plane" "$(muster describe cluster lab | awk '/^Link:/ {print $2}')" Connected
muster get nodes -o wide
approvals_hold

say "secrets"
scan n2 n3
[ ! -e "$WORK/failed" ]
say "done"
