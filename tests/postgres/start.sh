#!/usr/bin/env bash
# Runs a command with a PostgreSQL of its own, which is stopped and removed afterwards.
#
#   tests/postgres/start.sh COMMAND...
#
# It listens on a free port of 127.0.0.1, speaks TLS with a certificate for `localhost` made on the spot, and writes
# through to the disk as a real one does. The command finds it by:
#
#   HEARTVOICE_TEST_POSTGRES            address, without a database
#   HEARTVOICE_TEST_POSTGRES_CA         the authority of its certificate
#   HEARTVOICE_TEST_POSTGRES_WRONG_CA   another authority
#   HEARTVOICE_TEST_POSTGRES_CRASH      a command that ends it as a power cut would, and starts it again
#
# Needs PostgreSQL 13 or later and openssl; `./test` installs them on Debian and Ubuntu.
set -euo pipefail

# The newest one; Debian does not put these programs on the path.
programs=""
for folder in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V); do
  if [ -x "$folder/initdb" ] && [ -x "$folder/psql" ]; then
    programs=$folder
  fi
done
if [ -z "$programs" ] && command -v initdb >/dev/null; then
  programs=$(dirname "$(command -v initdb)")
fi
if [ -z "$programs" ]; then
  echo "PostgreSQL is missing: install the package postgresql" >&2
  exit 1
fi

# A short path: the name of a socket may have about a hundred letters.
home=$(mktemp -d "${TMPDIR:-/tmp}/heartvoice-pg.XXXXXX")

# PostgreSQL refuses to run as root.
as_user=()
if [ "$(id -u)" -eq 0 ]; then
  user=nobody
  if id postgres >/dev/null 2>&1; then
    user=postgres
  fi
  as_user=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups --)
  chown "$user" "$home"
fi
chmod 711 "$home"

control() {
  (cd "$home" && "${as_user[@]}" "$programs/pg_ctl" -D "$home/data" -s -w -t 60 "$@")
}

finish() {
  control stop -m immediate >/dev/null 2>&1 || true
  rm -rf "$home"
}
trap finish EXIT
trap 'exit 130' INT TERM

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

# Two authorities, and a certificate of the first one.
mkdir "$home/tls"
authority() {
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" -keyout "$home/tls/$1.key" -out "$home/tls/$1.pem" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign 2>/dev/null
}
authority ours
authority another
openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$home/server.key" -out "$home/tls/server.csr" 2>/dev/null
printf 'basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n' >"$home/tls/server.ext"
openssl x509 -req -in "$home/tls/server.csr" -CA "$home/tls/ours.pem" -CAkey "$home/tls/ours.key" -CAcreateserial -days 2 \
  -extfile "$home/tls/server.ext" -out "$home/server.pem" 2>/dev/null
chmod 600 "$home/server.key"
if [ "$(id -u)" -eq 0 ]; then
  chown "$user" "$home/server.key" "$home/server.pem"
fi

(cd "$home" && "${as_user[@]}" "$programs/initdb" -D "$home/data" -U postgres -A trust -E UTF8 --no-locale >"$home/init.log" 2>&1) || {
  cat "$home/init.log" >&2
  exit 1
}
"${as_user[@]}" tee -a "$home/data/postgresql.conf" >/dev/null <<SETTINGS
port = $port
listen_addresses = '127.0.0.1'
unix_socket_directories = '$home'
max_connections = 300
ssl = on
ssl_cert_file = '$home/server.pem'
ssl_key_file = '$home/server.key'
fsync = on
synchronous_commit = on
SETTINGS
"${as_user[@]}" touch "$home/log"
control -l "$home/log" start || {
  cat "$home/log" >&2
  exit 1
}

export HEARTVOICE_TEST_POSTGRES="postgresql://postgres@127.0.0.1:$port"
export HEARTVOICE_TEST_POSTGRES_CA="$home/tls/ours.pem"
export HEARTVOICE_TEST_POSTGRES_WRONG_CA="$home/tls/another.pem"
chmod 644 "$home"/tls/*.pem
cat >"$home/crash" <<CRASH
#!/bin/sh
# "immediate": no process gets to write anything down.
cd "$home"
${as_user[*]} "$programs/pg_ctl" -D "$home/data" -s -w -t 60 -m immediate stop
exec ${as_user[*]} "$programs/pg_ctl" -D "$home/data" -s -w -t 60 -l "$home/log" start </dev/null >/dev/null 2>&1
CRASH
chmod 755 "$home/crash"
export HEARTVOICE_TEST_POSTGRES_CRASH="$home/crash"
export PGBIN="$programs"

"$@"
