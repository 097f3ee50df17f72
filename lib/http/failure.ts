/** What undici reports under names of its own, told by the errno that users know. */
const errnoOf: Record<string, string> = {
  UND_ERR_CONNECT_TIMEOUT: 'ETIMEDOUT',
  UND_ERR_HEADERS_TIMEOUT: 'ETIMEDOUT',
  UND_ERR_BODY_TIMEOUT: 'ETIMEDOUT',
  // Bytes are missing: the other side went away in the middle of an answer.
  UND_ERR_SOCKET: 'ECONNRESET',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'ECONNRESET',
};

/** A connection's error in one word, such as `ECONNREFUSED` or `ETIMEDOUT`; else its message. */
export function errnoText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  if (typeof code !== 'string') return error.message;
  return errnoOf[code] ?? code;
}

/** Whether a connection was given up because nothing came for too long. */
export function isTimeout(error: unknown): boolean {
  return errnoText(error) === 'ETIMEDOUT';
}

/** The connection's error and the host it was made to: `ECONNREFUSED (127.0.0.1:8080)`. */
export function failureText(error: unknown, url: URL): string {
  return `${errnoText(error)} (${url.host})`;
}
