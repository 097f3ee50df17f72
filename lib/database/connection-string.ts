/** Where a database is and who asks; what the three kinds of `database_connection_string` come down to. */
export interface ServerAddress {
  user: string;
  password: string;
  /** Of a TCP server. */
  host?: string;
  port?: number;
  /** Path of a UNIX socket: of MySQL the socket, of PostgreSQL its directory. */
  socketPath?: string;
  database: string;
  /** What the string itself says of TLS; absent: nothing. */
  tls?: 'off' | 'unverified' | 'verified';
}

/** A connection string that cannot be used. Its text, which may hold a password, is not in the message. */
export class InvalidConnectionString extends Error {
  override readonly name = 'InvalidConnectionString';

  constructor(problem: string) {
    super(`database_connection_string: ${problem}`);
  }
}

/**
 * Reads what Go's MySQL driver takes: `user:password@tcp(host:port)/database?parameters`, or `unix(/path)`. A password
 * may hold every character; parameters other than `tls` have no meaning here.
 *
 * @throws InvalidConnectionString
 */
export function parseMysqlAddress(text: string): ServerAddress {
  const slash = text.lastIndexOf('/');
  if (slash < 0) throw new InvalidConnectionString('no "/" before the name of the database');
  const at = text.lastIndexOf('@', slash);
  const credentials = text.slice(0, Math.max(at, 0));
  const colon = credentials.indexOf(':');
  const [name = '', query = ''] = text.slice(slash + 1).split('?', 2);
  if (name === '') throw new InvalidConnectionString('no name of a database after "/"');
  const tls = tlsOfMysql(new URLSearchParams(query).get('tls'));
  return {
    user: colon < 0 ? credentials : credentials.slice(0, colon),
    password: colon < 0 ? '' : credentials.slice(colon + 1),
    ...networkAddress(text.slice(at + 1, slash)),
    database: decodePart(name, 'the name of the database'),
    ...(tls && { tls }),
  };
}

/**
 * Reads `postgres://user:password@host:port/database?sslmode=...`; for a UNIX socket, `host=/directory` among the
 * parameters.
 *
 * @throws InvalidConnectionString
 */
export function parsePostgresAddress(text: string): ServerAddress {
  if (!/^postgres(ql)?:\/\//.test(text)) throw new InvalidConnectionString('not a postgres:// URL');
  // With a user, a URL must have a host, which one for a socket has not.
  const complete = text.replace(/^(postgres(?:ql)?:\/\/[^/@]*@)\//, (_, front: string) => `${front}127.0.0.1/`);
  const url = URL.canParse(complete) ? new URL(complete) : undefined;
  if (!url) throw new InvalidConnectionString('not a URL');
  const socketPath = url.searchParams.get('host');
  const database = decodePart(url.pathname.slice(1), 'the name of the database');
  if (database === '') throw new InvalidConnectionString('no name of a database');
  const tls = tlsOfPostgres(url.searchParams.get('sslmode'));
  const port = Number(url.searchParams.get('port') ?? (url.port || 5432));
  return {
    user: decodePart(url.username, 'the user'),
    password: decodePart(url.password, 'the password'),
    ...(socketPath?.startsWith('/') ? { socketPath } : { host: url.hostname.replace(/^\[|\]$/g, '') || '127.0.0.1' }),
    port,
    database,
    ...(tls && { tls }),
  };
}

function networkAddress(text: string): Pick<ServerAddress, 'host' | 'port' | 'socketPath'> {
  const [, network = '', address = ''] = /^(\w*)(?:\((.*)\))?$/.exec(text) ?? [];
  if (network === 'unix') return { socketPath: address || '/tmp/mysql.sock' };
  if (network !== 'tcp' && text !== '') throw new InvalidConnectionString('neither tcp(host:port) nor unix(/path)');
  const [, host, port = '3306'] = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(address) ?? [];
  if (host === undefined) throw new InvalidConnectionString('not host:port in tcp(...)');
  return { host: host.replace(/^\[|\]$/g, '') || '127.0.0.1', port: Number(port) };
}

function tlsOfMysql(value: string | null): ServerAddress['tls'] {
  if (value === 'true') return 'verified';
  return value === 'skip-verify' ? 'unverified' : undefined;
}

function tlsOfPostgres(value: string | null): ServerAddress['tls'] {
  if (value === 'disable') return 'off';
  if (value === 'require') return 'unverified';
  return value?.startsWith('verify-') ? 'verified' : undefined;
}

function decodePart(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    throw new InvalidConnectionString(`${what} is not well escaped`);
  }
}
