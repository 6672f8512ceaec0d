# Makes the site's key pair where it stays, once; its public half goes to the coordinator.
set -eu
[ -e "/state/keys/$1.key" ] || pfedsam site-key /state/keys --site "$1"
cp "/state/keys/$1.pub" /mail/
