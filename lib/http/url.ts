/** User and password of a URL's userinfo, percent-decoded. */
export interface Credentials {
  user: string;
  password: string;
}

/** Removes user and password from a URL, also from one that does not parse; what logs and errors may show. */
export function stripUserinfo(url: string): string {
  // A password with a slash in it makes the URL one that does not parse: then all up to the last `@` may be secret.
  return url.replace(URL.canParse(url) ? /\/\/[^/?#]*@/ : /\/\/.*@/s, '//');
}

/** The URL's user and password, undefined when it names neither. */
export function credentialsOf(url: URL): Credentials | undefined {
  if (url.username === '' && url.password === '') return undefined;
  return { user: percentDecoded(url.username), password: percentDecoded(url.password) };
}

/** Value of the `Authorization` header for HTTP basic authentication. */
export function basicAuthorization({ user, password }: Credentials): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

/**
 * Parses a URL that bytes are to be fetched from or sent to.
 * @throws TypeError when it does not parse or is neither http nor https; the text has no credentials
 */
export function parseHttpUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !['http:', 'https:'].includes(url.protocol)) {
    throw new TypeError(`${JSON.stringify(stripUserinfo(text))} is no http or https URL`);
  }
  return url;
}

/** A password with a bare `%` was meant as it stands. */
function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
