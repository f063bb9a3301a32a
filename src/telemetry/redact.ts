// Keeps secrets out of text. It owns the one rule that recognises a secret inside a message, a log line or a
// configuration value. It does not know where the text comes from, and never decides that a text is safe. A
// value under a secret's name that is no URL is hidden whole.

const HIDDEN = "***";

// User and password stand between `//` and the last `@` before white space or a quote: passwords hold `@`, `/`
// and `:` more often than they should. A path that was made of a URL has lost a slash.
const CREDENTIALS = /([a-z][a-z0-9+.-]*:\/{1,2})([^\s"'`<>]*)@/gi;
const PARAMETER = /([?&;,({"'`\s]|^)((?:ssl)?password|passwd|pwd|token|secret)=('[^']*'|[^&;\s"']*)/gi;
// JSON, also JSON inside a JSON string.
const PROPERTY = /(\\?"\w*(?:password|passwd|secret|token)\\?"\s*:\s*\\?")[^"\\]+/gi;
const BEARER = /\b(Bearer\s+)[^\s"']+/gi;

/** The same text with every password in a URL, every `password=…` and every bearer token hidden. */
export function mask(text: string): string {
  return text
    .replace(CREDENTIALS, (_whole, scheme: string, credentials: string) => {
      const colon = credentials.indexOf(":");
      return colon < 0 ? `${scheme}${credentials}@` : `${scheme}${credentials.slice(0, colon)}:${HIDDEN}@`;
    })
    .replace(PARAMETER, `$1$2=${HIDDEN}`)
    .replace(PROPERTY, `$1${HIDDEN}`)
    .replace(BEARER, `$1${HIDDEN}`);
}

/** A value in the place of a secret: a URL keeps its harmless parts, anything else is hidden whole. */
export function maskSecret(value: string): string {
  const url = /^([a-z][a-z0-9+.-]*:\/\/)/i.exec(value);
  // An application's own DATABASE_URL for SQLite is a path, which is useful to show.
  if (!url?.[1]) return /^(file|sqlite3?):/i.test(value) ? mask(value) : HIDDEN;
  const rest = value.slice(url[1].length).replace(PASSWORD_PARAMETER, `$1${HIDDEN}`);
  const at = rest.lastIndexOf("@");
  if (at < 0) return mask(`${url[1]}${withoutPassword(rest)}`);
  const user = /^[^:/?#\s]*/.exec(rest.slice(0, at))?.[0] ?? "";
  return mask(`${url[1]}${user}:${HIDDEN}@${rest.slice(at + 1)}`);
}

/** What follows a password in a URL's parameters may be the rest of it. */
const PASSWORD_PARAMETER = /([?&](?:ssl)?(?:password|passwd|pwd|token|secret)=)[\s\S]*$/i;

/** A URL that was cut off within its password has no `@`: after a colon only a port is harmless. */
function withoutPassword(rest: string): string {
  const colon = rest.indexOf(":");
  const port = /^:\d{1,5}(?=[/?]|$)/.test(rest.slice(colon)) || /^\[[0-9a-f:.%]+\]/i.test(rest);
  return colon < 0 || port || /^[^:]*[/?]/.test(rest) ? rest : `${rest.slice(0, colon)}:${HIDDEN}`;
}

const SECRET_NAME = /pass|pwd|secret|token|credential|auth|private|\bkey\b|url|uri|dsn/i;

/** True for names whose values are probably secrets, including misspellings. */
export function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name);
}
