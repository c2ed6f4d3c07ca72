#!/bin/sh
# Makes the synthesised clips again. Needs espeak-ng and sox.
# The LibriVox clips are made from 16 kHz WAV files when LIBRIVOX names their directory.
set -eu
cd "$(dirname "$0")"

# noise FILE SECONDS: white noise at -62 dBFS RMS
noise() {
  sox -D -R -n -r 8000 -b 16 -c 1 -t wav "$1" synth "$2" whitenoise vol 0.003
}

# say FILE VOICE WORDS_PER_MINUTE PITCH TEXT [WORD_GAP_IN_10_MS]
say() {
  espeak-ng -v "$2" -s "$3" -p "$4" -g "${6:-0}" -w /tmp/hv_clip.wav "$5"
  # Trim silence at both ends, level to -9 dBFS, telephone band, 8 kHz, and the faint noise every real line has.
  sox -D /tmp/hv_clip.wav -t wav -r 8000 -c 1 /tmp/hv_clean.wav \
    silence 1 0.02 0.5% reverse silence 1 0.02 0.5% reverse \
    sinc 250-3500 gain -n -9 pad 0.02 0.06
  noise /tmp/hv_noise.wav "$(soxi -D /tmp/hv_clean.wav)"
  sox -D -R -m -v 1 /tmp/hv_clean.wav -v 1 /tmp/hv_noise.wav -t ul "$1.ulaw"
  rm -f /tmp/hv_clip.wav /tmp/hv_clean.wav /tmp/hv_noise.wav
}

agent=en-us+f3
say agent_greeting "$agent" 185 55 "Hello, heart clinic check-in. How is your breathing today?"
say agent_weight "$agent" 180 55 "Thank you. What did you weigh this morning?"
say agent_swelling "$agent" 180 55 "Have your legs or ankles been swollen?"
say agent_reading "$agent" 180 55 "Please read the sentence on your card."
say agent_counting "$agent" 180 55 "Please count from one to twenty."
say agent_vowel "$agent" 180 55 "Now say ah, as long as you can."
say agent_goodbye "$agent" 185 55 "Thank you, that is all. Goodbye."
say agent_repeat "$agent" 180 55 "Sorry, I did not hear you. Could you say that again?"

stable=en-gb+m3
say patient_breathing_good "$stable" 165 40 "My breathing is fine today, thank you."
say patient_weight_182 "$stable" 165 40 "One hundred and eighty two pounds."
say patient_swelling_none "$stable" 165 40 "No, no swelling at all."
say patient_counting "$stable" 250 40 "one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, fourteen, fifteen, sixteen, seventeen, eighteen, nineteen, twenty"

worse=en-gb+f2
say patient_breathing_worse "$worse" 150 45 "It is worse when I lie down. I slept in my chair."
say patient_weight_187 "$worse" 150 45 "I am up five pounds, one hundred and eighty seven."
say patient_swelling_both "$worse" 150 45 "Yes, both ankles are swollen."

short=en-us+m5
say patient_breathing_short "$short" 135 30 "I get short of breath, even at rest." 4
say patient_weight_190 "$short" 130 30 "One hundred, and ninety." 4
# Long pauses between groups and an early end, as somebody counts who has to breathe in between.
n=0
for group in "one, two, three, four." "five, six, seven." "eight, nine." "ten, eleven." "twelve."; do
  n=$((n + 1))
  say "/tmp/hv_group_$n" "$short" 185 30 "$group"
done
: > patient_counting_short.ulaw
for i in 1 2 3 4 5; do
  cat "/tmp/hv_group_$i.ulaw" >> patient_counting_short.ulaw
  if [ "$i" != 5 ]; then
    noise /tmp/hv_pause.wav 0.9
    sox -D /tmp/hv_pause.wav -t ul - >> patient_counting_short.ulaw
    rm -f /tmp/hv_pause.wav
  fi
  rm -f "/tmp/hv_group_$i.ulaw"
done

say patient_interrupt "$stable" 175 42 "Sorry, can I say something? I feel fine."
say patient_yes "$stable" 165 40 "Yes, that is right."

if [ -n "${LIBRIVOX:-}" ]; then
  for n in 0870 0880 0890 0920 0930; do
    sox -D "$LIBRIVOX/s_librivox_$n.wav" -t ul -r 8000 -c 1 "librivox_$n.ulaw"
  done
fi
ls -l ./*.ulaw
