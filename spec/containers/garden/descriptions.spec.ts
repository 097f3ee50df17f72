import { expect } from 'chai';
import { callGarden, type GardenProcess, startGarden } from '../../support/garden.js';

describe('descriptions that the Garden API does not take', function () {
  this.timeout(120_000);
  let garden: GardenProcess;

  before(async () => {
    garden = await startGarden();
  });

  after(() => garden.stop());

  const call = (method: string, path: string, body?: unknown) => callGarden(garden.socket, method, path, body);
  const listed = async (query = '') =>
    ((await call('GET', `/containers${query}`)).json as { Handles: string[] }).Handles;
  const messageOf = (answer: { json: unknown }) => (answer.json as { Message: string }).Message;

  const wrongValues: [unknown, string][] = [
    ['x', 'string'],
    [5, 'number'],
    [1.5, 'number 1.5'],
    [-1, 'number -1'],
    [true, 'bool'],
    [{}, 'object'],
    [[1], 'array'],
  ];
  /** Every field with the Go type that it has. */
  const containerFields: Record<string, string> = {
    handle: 'string',
    grace_time: 'int64',
    rootfs: 'string',
    'image.uri': 'string',
    'image.username': 'string',
    'image.password': 'string',
    'bind_mounts[].src_path': 'string',
    'bind_mounts[].dst_path': 'string',
    'bind_mounts[].mode': 'uint8',
    'bind_mounts[].origin': 'uint8',
    network: 'string',
    privileged: 'bool',
    'limits.bandwidth_limits.rate': 'uint64',
    'limits.bandwidth_limits.burst': 'uint64',
    'limits.cpu_limits.weight': 'uint64',
    'limits.cpu_limits.limit_in_shares': 'uint64',
    'limits.disk_limits.inode_soft': 'uint64',
    'limits.disk_limits.inode_hard': 'uint64',
    'limits.disk_limits.byte_soft': 'uint64',
    'limits.disk_limits.byte_hard': 'uint64',
    'limits.disk_limits.scope': 'uint8',
    'limits.memory_limits.limit_in_bytes': 'uint64',
    'limits.pid_limits.max': 'uint64',
    'netin[].host_port': 'uint32',
    'netin[].container_port': 'uint32',
    'netout_rules[].protocol': 'uint8',
    'netout_rules[].networks[].start': 'string',
    'netout_rules[].ports[].start': 'uint16',
    'netout_rules[].icmps.type': 'uint8',
    'netout_rules[].log': 'bool',
  };
  const processFields: Record<string, string> = {
    id: 'string',
    path: 'string',
    dir: 'string',
    user: 'string',
    ...Object.fromEntries(['as', 'nofile', 'nproc', 'stack'].map((name) => [`rlimits.${name}`, 'uint64'])),
    'tty.window_size.columns': 'int',
    'tty.window_size.rows': 'int',
    'image.uri': 'string',
    'limits.cpu_limits.weight': 'uint64',
    'bind_mounts[].mode': 'uint8',
  };
  const isRight = (type: string, kind: string) => {
    if (type === 'string' || type === 'bool') return kind === type;
    return kind === 'number' || (kind === 'number -1' && type.startsWith('int'));
  };
  const bodyWith = (path: string, value: unknown): unknown =>
    path
      .split('.')
      .reverse()
      .reduce((inner, key) => (key.endsWith('[]') ? { [key.slice(0, -2)]: [inner] } : { [key]: inner }), value);

  for (const [route, fields] of [
    ['/containers', containerFields],
    ['/containers/c/processes', processFields],
  ] as const) {
    it(`are refused at ${route} with the field and its type named, whichever it is`, async () => {
      for (const [path, type] of Object.entries(fields)) {
        for (const [value, kind] of wrongValues) {
          if (isRight(type, kind)) continue;
          const { status, json } = await call('POST', route, bodyWith(path, value));
          const told = kind.startsWith('number ') && (type === 'string' || type === 'bool') ? 'number' : kind;
          expect(status).to.equal(500);
          expect((json as { Message: string }).Message, path).to.match(
            new RegExp(
              `^json: cannot unmarshal ${told} into Go struct field \\w+\\.${path.replaceAll('[]', '')} of type ${type}$`,
            ),
          );
        }
      }
      expect(await listed('?garden.state=all')).to.deep.equal([]);
    });
  }

  it('are refused when what holds the fields is something else', async () => {
    for (const field of ['limits', 'image', 'properties', 'env', 'bind_mounts', 'netin', 'netout_rules']) {
      const message = messageOf(await call('POST', '/containers', { [field]: 'x' }));
      expect(message).to.match(
        new RegExp(`^json: cannot unmarshal string into Go struct field ContainerSpec\\.${field} of type `),
      );
    }
    expect(messageOf(await call('POST', '/containers', '[]'))).to.match(/^json: cannot unmarshal array into Go value/);
    expect(messageOf(await call('POST', '/containers', { env: [1] }))).to.match(/ContainerSpec\.env of type string$/);
  });

  it('are refused when they are no JSON, in the words of Go', async () => {
    const texts: Record<string, string> = {
      '': 'EOF',
      '   ': 'EOF',
      '{bad': "invalid character 'b' looking for beginning of object key string",
      '{"handle"}': "invalid character '}' after object key",
      '{"handle":}': "invalid character '}' looking for beginning of value",
      '{"handle":"a" "b"': `invalid character '"' after object key:value pair`,
      '{"env":["a" 1]}': "invalid character '1' after array element",
      '{"handle":"a': 'unexpected EOF',
      '{"handle":"\n"}': "invalid character '\\n' in string literal",
      '{"handle":"\\x"}': "invalid character 'x' in string escape code",
      '{"handle":"\\u12g4"}': "invalid character 'g' in \\u hexadecimal character escape",
      '{"privileged":trup}': "invalid character 'p' in literal true (expecting 'e')",
      '{"grace_time":-x}': "invalid character 'x' in numeric literal",
      '{"grace_time":1.}': "invalid character '}' after decimal point in numeric literal",
      '{"grace_time":1e}': "invalid character '}' in exponent of numeric literal",
      nope: "invalid character 'o' in literal null (expecting 'u')",
      [`${'['.repeat(20_000)}`]: 'exceeded max depth',
    };
    for (const [text, message] of Object.entries(texts)) {
      const answer = await call('POST', '/containers', text);
      expect(answer.status).to.equal(500);
      expect(messageOf(answer), text.slice(0, 30)).to.equal(message);
    }
    for (const [method, path] of [
      ['PUT', '/containers/c/stop'],
      ['PUT', '/containers/c/grace_time'],
      ['PUT', '/containers/c/properties/x'],
      ['POST', '/containers/c/net/in'],
      ['POST', '/containers/c/net/out'],
      ['POST', '/containers/c/net/out/bulk'],
      ['POST', '/containers/c/processes'],
    ] as const) {
      expect(messageOf(await call(method, path)), path).to.equal('EOF');
    }
  });

  it('are refused for what cannot be, and leave nothing behind', async () => {
    const wrong: Record<string, unknown>[] = [
      { handle: 'a/b' },
      { handle: '..' },
      { handle: 'x'.repeat(5_000) },
      { rootfs: '/a', image: { uri: '/b' } },
      { rootfs: '/no/such/thing' },
      { grace_time: -5 },
      { env: ['NOTHING'] },
      { bind_mounts: [{ src_path: '/no/such/source', dst_path: '/mnt' }] },
      { bind_mounts: [{ src_path: 'relative', dst_path: '/mnt' }] },
      { limits: { cpu_limits: { weight: 1 } } },
      { limits: { memory_limits: { limit_in_bytes: 2 ** 60 * 15 } } },
      { netin: [{ host_port: 70_000 }] },
      { netout_rules: [{ protocol: 9 }] },
      { netout_rules: [{ protocol: 1, networks: [{}] }] },
      { netout_rules: [{ protocol: 1, networks: [{ start: 'not-an-address' }] }] },
      { netout_rules: [{ protocol: 1, ports: [{ start: 9, end: 1 }] }] },
    ];
    for (const spec of wrong) {
      const { status, json } = await call('POST', '/containers', spec);
      expect(status, JSON.stringify(spec).slice(0, 100)).to.equal(500);
      expect((json as { Message: string }).Message).to.not.equal('');
    }
    expect(await listed('?garden.state=all')).to.deep.equal([]);
    expect(messageOf(await call('POST', '/containers', { rootfs: '/a', image: { uri: '/b' } }))).to.equal(
      'Cannot provide both Image.URI and RootFSPath',
    );
  });
});
