#!/usr/bin/env python3
"""Speaks the texts of the shipped protocol: prints one line per clip for make.sh, and writes agent_texts.tsv."""
import pathlib, re, tomllib

here = pathlib.Path(__file__).parent
protocol = tomllib.loads((here / "../../clinic/protocols/heart-failure.toml").read_text())
head, rows = protocol["protocol"], []
for code, voice in [("en", "en-us+f3"), ("es", "es-419+f3")]:
    language = protocol["language"][code]
    for key, text in list(language["say"].items()) + list(language["items"].items()):
        if key == "voicemail":
            continue
        for name in ("emergency_number", "crisis_number"):
            text = text.replace("{%s}" % name, " ".join(head[name]))
        # Names are not spoken: one clip serves everybody.
        text = re.sub(r"\s*\{patient_name\}", "", text)
        rows.append((f"agent_{code}_{key}", text))
        print(f"{rows[-1][0]}\t{voice}\t{text}")
(here / "agent_texts.tsv").write_text("".join(f"{name}\t{text}\n" for name, text in rows))
