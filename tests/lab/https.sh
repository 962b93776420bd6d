#!/bin/bash
# https.sh: machines without an agent discover their cluster over HTTPS. Needs root, $K8S_LAB (programs, images, nodebase) and
# $LAB_SCRIPTS (node.sh, cluster.sh).
#
# Brings in a cluster made by plain `kubeadm init`, closes its cluster-info, and adds three machines by printed lines run as they were
# printed: a worker, with the fleet's own certificate; a control plane, likewise and with the token embedded; and a worker, with a web
# certificate that its machine trusts. It also runs lines that must not work, and looks what kubeadm says then.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd) TOP=$(cd "$HERE/../.." && pwd) NODES=(n1 n2 n3 n4)
# shellcheck source=tests/lab/lab.sh
. "$HERE/lab.sh"
hide() { sed -E 's/([a-z0-9]{6})[.:][a-z0-9]{16}/\1.…/; s/(certificate-key )[0-9a-f]*/\1…/; s/echo LS0[A-Za-z0-9+=\/]*/echo LS0…/'; }
settings() { # LINE...: those of the server, and these under [discovery]
  printf '[server]\ndata_dir = "%s/data"\nlisten = "192.0.2.1"\nadvertise = "192.0.2.1"\n[seal]\npath = "%s/seal.key"\n[discovery]\nport = 9447\n' \
    "$WORK" "$WORK" >"$WORK/server.toml"
  printf '%s\n' "$@" >>"$WORK/server.toml"
}
join() { # NODE FILE: runs the line, as it was printed but for this lab's one exception, by a POSIX shell
  timeout "${3:-180}" "$LAB_SCRIPTS/node.sh" exec "$1" sh -s <<<"$(cat "$2") --ignore-preflight-errors=SystemVerification" 2>&1 | tail -"${4:-3}"
}
line() { # NODE ARGUMENT...
  local node=$1; shift
  muster join-command --cluster old --node-name "$node" "$@" >"$WORK/line-$node" 2>"$WORK/said-$node"
  hide <"$WORK/line-$node"; hide <"$WORK/said-$node"
}
fails() { # what kubeadm says to a line that must not work
  if join n3 "$WORK/line-wrong" 60 2 >"$WORK/wrong"; then echo 'it joined'; return 1; fi
  hide <"$WORK/wrong"; rm "$WORK/wrong" "$WORK/line-wrong"
}
fetch() { ip netns exec ksw curl -s --cacert "$WORK/root.crt" "$@"; }

say "commit $(git -C "$TOP" rev-parse HEAD)$(git -C "$TOP" diff --quiet HEAD || echo ' with uncommitted changes')"
say "a cluster made by kubeadm init alone"
"$LAB_SCRIPTS/cluster.sh" up 1 0
node exec n1 cat /etc/kubernetes/admin.conf >"$WORK/admin.conf"
mkdir -p "$WORK/pki/etcd"
for f in ca.crt ca.key front-proxy-ca.crt front-proxy-ca.key sa.key sa.pub etcd/ca.crt etcd/ca.key; do
  node exec n1 cat "/etc/kubernetes/pki/$f" >"$WORK/pki/$f"
done
chmod -R go= "$WORK"
IMAGES=pause node up n2 192.0.2.12; node up n3 192.0.2.13; IMAGES=pause node up n4 192.0.2.14

say "muster serve, cluster import, and cluster-info closed"
settings
serve
muster cluster import old --kubeconfig "$WORK/admin.conf" --pki "$WORK/pki"
muster cluster apply -f "$HERE/https.yaml"
for _ in $(seq 100); do muster cluster describe old | grep -q '^cluster-info: *closed' && break; sleep 0.2; done
echo "cluster-info for everybody: HTTP $(node exec n1 curl -sk -o /dev/null -w '%{http_code}' \
  https://192.0.2.11:6443/api/v1/namespaces/kube-public/configmaps/cluster-info)"
muster join-command --cluster old --node-name n2 2>&1 && { echo 'a line that needs cluster-info was printed'; exit 1; }

say "what the server gives"
muster server ca >"$WORK/root.crt"
fetch -i https://192.0.2.1:9447/discovery/v1/clusters/old | sed 's/\(authority-data: LS0\).*/\1…/'
fetch -o /dev/null -w 'another cluster: HTTP %{http_code}\n' https://192.0.2.1:9447/discovery/v1/clusters/prod
fetch -o /dev/null -w 'a wrong token: HTTP %{http_code}\n' https://abcdef:0123456789abcdef@192.0.2.1:9447/discovery/v1/clusters/old

say "a worker, by a line with the fleet's root in it"
line n2 --discovery https
join n2 "$WORK/line-n2"

say "a control plane, with the token embedded"
line n3 --discovery https-embedded --role control-plane
sed 's/\(https:\/\/[a-z0-9]*:\)[a-z0-9]*/\1wrongwrongwrong1/' "$WORK/line-n3" >"$WORK/line-wrong"
echo "with another secret in it:"; fails
sed 's/.*\(kubeadm join\)/\1/' "$WORK/line-n3" >"$WORK/line-wrong"
echo "without the root:"; fails
join n3 "$WORK/line-n3" 240 6

say "a worker, with a web certificate that its machine trusts"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=web-ca -keyout "$WORK/web-ca.key" -out "$WORK/web-ca.crt" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=join.example.org -keyout "$WORK/web.key" -out "$WORK/web.csr" 2>/dev/null
openssl x509 -req -in "$WORK/web.csr" -CA "$WORK/web-ca.crt" -CAkey "$WORK/web-ca.key" -CAcreateserial -days 1 -out "$WORK/web.crt" \
  -extfile <(echo subjectAltName=DNS:join.example.org) 2>/dev/null
kill "$SERVER"; wait "$SERVER" 2>/dev/null || true
settings 'url = "join.example.org:9447"' "certificate = \"$WORK/web.crt\"" "key = \"$WORK/web.key\""
serve
for _ in $(seq 100); do muster cluster describe old | grep -q '^Link: *Connected' && break; sleep 0.2; done
node exec n4 tee -a /etc/hosts <<<'192.0.2.1 join.example.org' >/dev/null
node exec n4 tee /etc/ssl/certs/web-ca.pem <"$WORK/web-ca.crt" >/dev/null
line n4 --discovery https-embedded
join n4 "$WORK/line-n4"

say "what Kubernetes says (looking only)"
for _ in $(seq 60); do kubectl get nodes --no-headers | grep -q NotReady || break; sleep 1; done
kubectl get nodes -o wide
[ "$(kubectl get nodes --no-headers | grep -cw Ready)" = 4 ]
kubectl get csr -o custom-columns='NAME:.metadata.name,USER:.spec.username,REASON:.status.conditions[0].reason'
etcd_members
muster events --cluster old | grep -E 'SecretsReleased|CsrApproved' | hide

say "secrets"
rm "$WORK"/line-*; muster cluster describe old -o json >"$WORK/describe-old.json"; touch "$WORK/tokens.txt"
scan
say "done"
