// How SQLite may spell a moment: as text, as the 14 digits of YYYYMMDDHHMMSS, or as a number.
export const MOMENT_SOURCES = ["text", "digits", "unix", "unix_ms", "unix_us", "unix_ns", "julian"] as const;

export type MomentSource = (typeof MOMENT_SOURCES)[number];
