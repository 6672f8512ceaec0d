# The authority and the SuperLink's certificate, once; what the SuperLink and its proxy need beside them.
set -eu
[ -e /authority/ca.key ] || pfedsam certs /authority --host coordinator
cp /authority/ca.crt /authority/superlink.crt /authority/superlink.key /etc/proxy/nginx.conf /coordinator/
cp /authority/ca.crt /mail/
