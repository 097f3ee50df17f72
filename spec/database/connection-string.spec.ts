import { expect } from 'chai';
import {
  InvalidConnectionString,
  parseMysqlAddress,
  parsePostgresAddress,
} from '../../lib/database/connection-string.js';

describe('a connection string', () => {
  for (const [text, address] of [
    ['user:pw@tcp(h:3307)/db', { user: 'user', password: 'pw', host: 'h', port: 3307, database: 'db' }],
    [
      'user:p@ss:w/rd?@tcp(h:3306)/db?parseTime=true',
      { user: 'user', password: 'p@ss:w/rd?', host: 'h', port: 3306, database: 'db' },
    ],
    ['user@unix(/run/my.sock)/db', { user: 'user', password: '', socketPath: '/run/my.sock', database: 'db' }],
    ['user:pw@tcp(h)/db', { user: 'user', password: 'pw', host: 'h', port: 3306, database: 'db' }],
    ['user:pw@/db', { user: 'user', password: 'pw', host: '127.0.0.1', port: 3306, database: 'db' }],
    [
      'user:pw@tcp([::1]:3306)/db?tls=true',
      { user: 'user', password: 'pw', host: '::1', port: 3306, database: 'db', tls: 'verified' },
    ],
    [
      '/db?tls=skip-verify&x=y',
      { user: '', password: '', host: '127.0.0.1', port: 3306, database: 'db', tls: 'unverified' },
    ],
  ] as const) {
    it(`of MySQL is read: ${text}`, () => expect(parseMysqlAddress(text)).to.eql(address));
  }

  for (const [text, address] of [
    ['postgres://user:pw@h:5433/db', { user: 'user', password: 'pw', host: 'h', port: 5433, database: 'db' }],
    [
      'postgresql://u:p%40s%2Fs@h/d%2Fb?sslmode=verify-ca',
      { user: 'u', password: 'p@s/s', host: 'h', port: 5432, database: 'd/b', tls: 'verified' },
    ],
    [
      'postgres://u@[::1]/db?sslmode=disable',
      { user: 'u', password: '', host: '::1', port: 5432, database: 'db', tls: 'off' },
    ],
    [
      'postgres://u:p@/db?host=/run/postgresql&port=5433',
      { user: 'u', password: 'p', socketPath: '/run/postgresql', port: 5433, database: 'db' },
    ],
  ] as const) {
    it(`of PostgreSQL is read: ${text}`, () => expect(parsePostgresAddress(text)).to.eql(address));
  }

  for (const [text, parse] of [
    ['user:secret@tcp(h:3306)', parseMysqlAddress],
    ['user:secret@tcp(h:3306)/', parseMysqlAddress],
    ['user:secret@pipe(h)/db', parseMysqlAddress],
    ['user:secret@tcp(h:x)/db', parseMysqlAddress],
    ['user:secret@h:3306/db', parseMysqlAddress],
    ['mysql://user:secret@h/db', parsePostgresAddress],
    ['postgres://user:secret@h', parsePostgresAddress],
    ['postgres://user:secret@h:port/db', parsePostgresAddress],
    ['postgres://user:secret%ff@h/db', parsePostgresAddress],
  ] as const) {
    it(`is refused, and not told: ${text}`, () => {
      expect(() => parse(text)).to.throw(InvalidConnectionString, /^database_connection_string: (?!.*secret)/);
    });
  }
});
