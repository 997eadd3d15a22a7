"""Read the checkpoints of the first experiment, whose tensors have short names."""

import re

# A replacement ending in ".-." or ".+." takes a block number, counted from 1 or from 0.
PREFIXES = [
    (r"^e1\.0\.", "g_a.stem."),
    (r"^e1\.(\d)\.", "g_a.fine.-."),
    (r"^e2\.0\.c\.", "g_a.down.conv."),
    (r"^e2\.4\.", "g_a.head."),
    (r"^e2\.(\d)\.", "g_a.coarse.-."),
    (r"^d1\.0\.", "g_s.stem."),
    (r"^d1\.4\.c\.", "g_s.up.conv."),
    (r"^d1\.(\d)\.", "g_s.coarse.-."),
    (r"^d2\.3\.", "g_s.head."),
    (r"^d2\.(\d)\.", "g_s.fine.+."),
    (r"^he\.", "h_a."),
    (r"^hd\.", "h_s."),
    (r"^p0\.", "prior_head."),
    (r"^ci\.", "context_in."),
    (r"^cx\.", "context."),
    (r"^eb\.", "prior_z."),
    (r"^qe$", "log_gain_a"),
    (r"^qd$", "log_gain_s"),
    (r"^gy$", "log_gain_y"),
    (r"^hq$", "bias_h"),
    (r"^lb$", "bias_scale"),
]
LAYERS = {
    "a": "mix_in",
    "d": "spatial",
    "b": "mix_out",
    "u": "expand",
    "v": "project",
    "c": "conv",
}
MARKER = "e1.0.weight"  # a tensor that only these checkpoints have
FIGURES = {"steps": 9595, "batch": 8, "patch": 256, "minutes": 53, "cores": 2}


def current_name(name: str) -> str:
    """Return the present name of a tensor of the first experiment."""
    for pattern, prefix in PREFIXES:
        match = re.match(pattern, name)
        if match:
            if prefix.endswith((".-.", ".+.")):
                first = 1 if prefix[-2] == "-" else 0
                prefix = f"{prefix[:-2]}{int(match[1]) - first}."
            name = prefix + name[match.end() :]
            break
    return re.sub(r"\.([adbuvc])\.(weight|bias)$", lambda m: f".{LAYERS[m[1]]}.{m[2]}", name)
