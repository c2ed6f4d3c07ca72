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

# The visit: the agent speaks the protocol's texts.
python3 make_agent.py > /tmp/hv_agent.tsv
while IFS="$(printf '\t')" read -r name voice text; do
  say "$name" "$voice" 178 55 "$text"
done < /tmp/hv_agent.tsv
rm -f /tmp/hv_agent.tsv

say patient_m_dob "$stable" 165 40 "April first, nineteen forty eight."
say patient_m_consent "$stable" 165 40 "Yes, that is fine with me."
say patient_m_feeling "$stable" 165 40 "About the same as always, thank you."
say patient_m_weight "$stable" 165 40 "The same as last week. One hundred and eighty two pounds."
say patient_m_medications "$stable" 165 40 "Yes, I take all of them every day."
say patient_m_no "$stable" 165 40 "No, thank you."
say patient_m_chest_pain "$stable" 160 40 "Not good. I have had chest pain since this morning, it feels like pressure."
say patient_m_nurse_yes "$stable" 165 40 "Yes, please connect me."

say patient_f_dob "$worse" 155 45 "April first, nineteen forty eight."
say patient_f_consent "$worse" 155 45 "Yes, that is all right."
say patient_f_feeling_same "$worse" 155 45 "About the same as last time."
say patient_f_feeling_worse "$worse" 145 45 "Worse, I am more tired than usual."
say patient_f_breathing_none "$worse" 155 45 "No, my breathing is fine."
say patient_f_breathing_usual "$worse" 150 45 "A little, no more than usual."
say patient_f_breathing_stairs "$worse" 145 45 "Yes, I get short of breath on the stairs now."
say patient_f_pillow_no "$worse" 150 45 "No, I sleep on one pillow as always."
say patient_f_pillow_yes "$worse" 145 45 "Yes, I need two more pillows now."
say patient_f_night_no "$worse" 150 45 "No, I slept through the night."
say patient_f_night_yes "$worse" 145 45 "Yes, I woke up short of breath last night."
say patient_f_swelling_none "$worse" 155 45 "No swelling."
say patient_f_swelling_worse "$worse" 145 45 "Yes, my ankles are more swollen than usual."
say patient_f_weight_same "$worse" 155 45 "No, it has not changed."
say patient_f_weight_two "$worse" 150 45 "I am up two pounds since yesterday."
say patient_f_weight_three "$worse" 145 45 "Yes, I gained three pounds in two days."
say patient_f_weight_six "$worse" 145 45 "Yes, I am up six pounds this week."
say patient_f_medications "$worse" 150 45 "Yes, all of them."
say patient_f_missed "$worse" 145 45 "I missed my water pill twice this week."
say patient_f_yes "$worse" 150 45 "Yes, please."
say patient_f_wrong_person "$worse" 165 45 "I am sorry, you have the wrong number."

spanish=es-419+f2
say patient_es_dob "$spanish" 160 45 "El primero de abril de mil novecientos cuarenta y ocho."
say patient_es_consent "$spanish" 160 45 "Sí, estoy de acuerdo."
say patient_es_feeling "$spanish" 160 45 "Me siento igual que siempre, gracias."
say patient_es_breathing "$spanish" 160 45 "No, respiro bien."
say patient_es_swelling "$spanish" 160 45 "No, no tengo nada de hinchazón."
say patient_es_counting "$spanish" 200 45 "uno, dos, tres, cuatro, cinco, seis, siete, ocho, nueve, diez, once, doce, trece, catorce, quince, dieciséis, diecisiete, dieciocho, diecinueve, veinte"
say patient_es_weight "$spanish" 160 45 "No ha cambiado, peso setenta y dos kilos."
say patient_es_medications "$spanish" 160 45 "Sí, las tomo todos los días."
say patient_es_no "$spanish" 160 45 "No, gracias."
say patient_es_yes "$spanish" 160 45 "Sí."

# count FILE WORDS_PER_MINUTE PAUSE_SECONDS GROUP...: counts in groups, with a breath between them.
count() {
  file=$1 speed=$2 pause=$3
  shift 3
  : > "$file.ulaw"
  first=1
  for group in "$@"; do
    if [ "$first" = 0 ]; then
      noise /tmp/hv_pause.wav "$pause"
      sox -D /tmp/hv_pause.wav -t ul - >> "$file.ulaw"
      rm -f /tmp/hv_pause.wav
    fi
    first=0
    say /tmp/hv_group "$worse" "$speed" 45 "$group"
    cat /tmp/hv_group.ulaw >> "$file.ulaw"
    rm -f /tmp/hv_group.ulaw
  done
}
count patient_f_count_1 205 0.45 "one, two, three, four, five, six, seven, eight, nine, ten." "eleven, twelve, thirteen, fourteen, fifteen, sixteen, seventeen, eighteen, nineteen, twenty."
count patient_f_count_2 195 0.6 "one, two, three, four, five, six." "seven, eight, nine, ten, eleven, twelve, thirteen." "fourteen, fifteen, sixteen, seventeen, eighteen, nineteen, twenty."
count patient_f_count_3 180 0.85 "one, two, three, four." "five, six, seven, eight." "nine, ten, eleven, twelve." "thirteen, fourteen, fifteen, sixteen." "seventeen, eighteen, nineteen, twenty."

if [ -n "${LIBRIVOX:-}" ]; then
  for n in 0870 0880 0890 0920 0930; do
    sox -D "$LIBRIVOX/s_librivox_$n.wav" -t ul -r 8000 -c 1 "librivox_$n.ulaw"
  done
fi
ls -l ./*.ulaw
