#!/bin/sh
# Makes the phrases again: what a patient hears while one agent stands in for another. The words are those of `bridge`
# in clinic's protocols/heart-failure.toml. Needs espeak-ng (its licence does not extend to what it says) and sox.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

phrase() { # language, voice, words per minute, words
    espeak-ng -v "$2" -s "$3" -p 40 -w "$work/$1.wav" "$4"
    # The telephone's band, no long silence at either end, the loudest sample 3 dB below full scale. Dither would make
    # every run another file.
    sox -D "$work/$1.wav" -r 8000 -c 1 "$work/$1.8k.wav" gain -6 highpass 200 lowpass 3400 \
        silence 1 0.02 0.5% reverse silence 1 0.02 0.5% reverse pad 0.05 0.1 norm -3
    sox -D "$work/$1.8k.wav" -t raw -e mu-law -b 8 "$1.ulaw"
}

phrase en en-us 190 "One moment, please. I am still here."
phrase es es-419 180 "Un momento, por favor. Aquí sigo."
