# The SuperNode of one hospital; it reaches the proxy, and knows it by the authority's certificate alone.
set -eu
exec flower-supernode --superlink coordinator:8443 --root-certificates /mail/ca.crt \
    --auth-supernode-private-key "/state/keys/$1.key" --node-config "/etc/pfedsam/$1.toml"
