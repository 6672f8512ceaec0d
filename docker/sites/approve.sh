# Stands for somebody at the hospital who reads what a run asks for and allows it: waits for a request that nobody has
# allowed yet, shows it in plain words, and allows it for a day, but only if its bundle has no code of its own.
set -eu
site=/etc/pfedsam/$1.toml
first='import json, sys; print(*[r["request"]["hash"] for r in json.load(sys.stdin) if r["state"] != "approved"][:1])'
harmless='import json, sys; sys.exit(json.load(sys.stdin)["bundle"]["remarks"] != [])'
seen=
asked=
while [ -z "$asked" ]; do
    sleep 2
    found=$(ls /state/_site/"$1"/requests/*/request.json 2>/dev/null) || continue
    [ "$found" != "$seen" ] || continue
    asked=$(pfedsam site review "$site" --json | python -c "$first")
    seen=$found
done
pfedsam site review "$site" "$asked"
pfedsam site review "$site" "$asked" --json | python -c "$harmless"
pfedsam site approve "$site" "$asked" --expires 1
