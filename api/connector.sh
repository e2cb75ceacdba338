#!/bin/bash
# Tells Landwaiter of files below a share as they are closed or moved in, so that
# it need not wait for its next look. What is lost on the way, the next look finds.
# Needs inotify-tools (3.20 or later), curl, and a user's API key:
#
#     LANDWAITER_APIKEY=… bash landwaiter-connector.sh
#
# LANDWAITER_SERVER, where it is to be told elsewhere than at the server that this
# file came from.
set -euo pipefail
share=@SHARE@
client=@CLIENT@
from=@SERVER@
server=${LANDWAITER_SERVER:-"$from"}
: "${LANDWAITER_APIKEY:?set it to the API key of a user}"

# text in a JSON string
quote() {
	local s=$1 i c
	s=${s//\\/\\\\}
	s=${s//\"/\\\"}
	for i in {1..31}; do
		printf -v c "\\x$(printf %x "$i")"
		s=${s//$c/$(printf '\\u%04x' "$i")}
	done
	printf %s "$s"
}

# the key goes by a file descriptor: arguments can be read by others
tell() {
	curl --silent --show-error --fail --output /dev/null --max-time 30 --retry 5 --retry-all-errors \
		--config <(printf 'header = "ApiKey: %s"\n' "$LANDWAITER_APIKEY") --header 'Content-Type: application/json' \
		--data-binary @- "$server/api/webhook/realtime" <<<"$1" || echo "not told: $2" >&2
}

cd -- "$share"
echo "following $share" >&2
while IFS= read -r -d '' path; do
	path=${path#./}
	metadata="{\"Name\":\"$(quote "$path")\"}"
	tell "{\"storageClientId\":\"$client\",\"metadata\":\"$(quote "$metadata")\"}" "$path"
done < <(exec inotifywait --quiet --monitor --recursive --event close_write --event moved_to --no-newline --format '%w%f%0' -- .)
