"""The report's colours by role: Okabe and Ito's colour-blind safe set, lightened for dark backgrounds.

No meaning rests on colour alone: every role also has its own symbol or dash.
"""

LIGHT = {
    "front": "#0072B2",
    "steps": "#0072B2",
    "dominated": "#9AA3AD",
    "once": "#9AA3AD",
    "stopped": "#B79F8B",
    "failed": "#B5654A",
    "knee": "#B0538A",
    "teacher": "#C77700",
    "reference": "#3B4148",
    "limit": "#D55E00",
    "budget": "#009E73",
    "share0": "#009E73",
    "share1": "#0072B2",
    "share2": "#B0538A",
    "share3": "#C77700",
    "same": "#5B636C",
    "chosen": "#1C1F23",
    "text": "#1C1F23",
    "muted": "#5B636C",
    "line": "#E2E5E9",
    "surface": "#F6F7F8",
    "page": "#FFFFFF",
}

DARK = {
    "front": "#56B4E9",
    "steps": "#56B4E9",
    "dominated": "#6C7681",
    "once": "#6C7681",
    "stopped": "#8A7767",
    "failed": "#B8735C",
    "knee": "#E39BC4",
    "teacher": "#F0B23E",
    "reference": "#D5DAE0",
    "limit": "#F08A4B",
    "budget": "#2FC79B",
    "share0": "#2FC79B",
    "share1": "#56B4E9",
    "share2": "#E39BC4",
    "share3": "#F0B23E",
    "same": "#9DA6B0",
    "chosen": "#F2F4F6",
    "text": "#E8EAED",
    "muted": "#9DA6B0",
    "line": "#2E343B",
    "surface": "#1B1F24",
    "page": "#12151A",
}
