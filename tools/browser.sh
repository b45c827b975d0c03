#!/usr/bin/env bash
# Puts a headless Chromium into .venv, or $VENV, for the tests that look at pages, if none is on the
# path and npm can be had. Without one these tests are skipped. May be killed anywhere and run again.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${VENV:-.venv}/browser
version=147.0.0

for name in chromium-headless-shell chrome-headless-shell headless_shell chromium chromium-browser \
    google-chrome google-chrome-stable; do
    command -v "$name" >/dev/null && exit 0
done
[ -e "$folder/ready" ] && exit 0
if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
    echo "setup: no Chromium and no npm, so tests of pages in a browser will be skipped" >&2
    exit 0
fi
rm -rf "$folder"
mkdir -p "$folder/lib"
if ! timeout 300 npm install --fetch-retries=1 --fetch-timeout=60000 --prefix "$folder" --no-audit --no-fund --no-save --ignore-scripts --silent \
    "@sparticuz/chromium@$version" >/dev/null 2>&1; then
    echo "setup: npm could not get a Chromium, so tests of pages in a browser will be skipped" >&2
    exit 0
fi
# The browser, the libraries that it needs, and fonts, each packed with Brotli.
node - "$folder" <<'UNPACK'
const { createBrotliDecompress } = require("node:zlib");
const { createReadStream, createWriteStream } = require("node:fs");
const { pipeline } = require("node:stream/promises");
const folder = process.argv[2];
const bin = `${folder}/node_modules/@sparticuz/chromium/bin`;
const unpack = (from, to) =>
  pipeline(createReadStream(`${bin}/${from}`), createBrotliDecompress(), createWriteStream(to));
Promise.all([
  unpack("chromium.br", `${folder}/chromium`),
  unpack("al2023.tar.br", `${folder}/al2023.tar`),
  unpack("fonts.tar.br", `${folder}/fonts.tar`),
]).catch((error) => { console.error(String(error)); process.exit(1); });
UNPACK
tar -xf "$folder/al2023.tar" -C "$folder"
mkdir -p "$folder/fonts"
tar -xf "$folder/fonts.tar" -C "$folder/fonts"
chmod +x "$folder/chromium"
rm -rf "$folder/node_modules" "$folder"/*.tar
# It may be for another processor, or lack a library of the system.
if ! LD_LIBRARY_PATH=$folder/lib "$folder/chromium" --version >/dev/null 2>&1; then
    echo "setup: the Chromium of npm does not start, so tests of pages in a browser will be skipped" >&2
    exit 0
fi
touch "$folder/ready"
