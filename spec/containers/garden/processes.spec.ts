import { statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { eventually } from '../../support/eventually.js';
import { callGarden, type GardenProcess, RawConnection, startGarden } from '../../support/garden.js';

describe('processes over the Garden API', function () {
  this.timeout(120_000);
  let garden: GardenProcess;
  const open: RawConnection[] = [];

  before(async () => {
    garden = await startGarden();
  });

  after(() => garden.stop());

  beforeEach(async () => {
    expect((await call('POST', '/containers', { handle: 'c' })).json).to.deep.equal({ Handle: 'c' });
  });

  afterEach(async () => {
    for (const connection of open.splice(0)) connection.close();
    await call('DELETE', '/containers/c');
  });

  const call = (method: string, path: string, body?: unknown) => callGarden(garden.socket, method, path, body);
  const keep = (connection: RawConnection) => {
    open.push(connection);
    return connection;
  };
  const begin = async (
    head: string,
    body?: unknown,
    behind?: string,
    address: string | GardenProcess['tcp'] = garden.socket,
  ) => {
    const connection = keep(await RawConnection.request(address, head, body, behind));
    return connection.until(({ rest }) => rest.includes('\n'));
  };
  const run = (spec: Record<string, unknown>, behind?: string) =>
    begin('POST /containers/c/processes', { user: 'root', ...spec }, behind);
  const sh = (script: string, spec: Record<string, unknown> = {}) => run({ path: 'sh', args: ['-c', script], ...spec });
  const attach = (id: string) => begin(`GET /containers/c/processes/${id}`);
  const output = async (connection: RawConnection, name = 'stdout') => {
    const { process_id: id, stream_id: stream } = connection.payloads[0] ?? {};
    return keep(
      await RawConnection.request(garden.socket, `GET /containers/c/processes/${id}/attaches/${stream}/${name}`),
    );
  };
  const exitOf = async (connection: RawConnection) => (await connection.ended()).payloads.at(-1)?.exit_status;

  it('begin with a head that Go clients take, and raw JSON directly behind it', async () => {
    for (const address of [garden.socket, garden.tcp]) {
      const connection = await begin('POST /containers/c/processes', { path: 'true' }, '', address);
      const lines = connection.head.split('\r\n');
      expect(lines[0]).to.equal('HTTP/1.1 201 Created');
      expect(lines).to.include('Transfer-Encoding: chunked').and.to.include('Content-Type: application/json');
      expect(connection.head).not.to.match(/connection: close/i);
      expect(connection.rest[0]).to.equal('{');
      const stdout = await output(connection);
      await stdout.until(({ text }) => text.includes('\r\n\r\n'));
      expect(stdout.head)
        .to.match(/^HTTP\/1.1 200 OK\r\n/)
        .and.to.include('Transfer-Encoding: chunked');
      expect(stdout.head).not.to.match(/content-type|connection: close/i);
      expect(await exitOf(connection)).to.equal(0);
    }
  });

  it('read what was sent directly behind the request, and after it', async () => {
    const early = '{"process_id":"","source":0,"data":"hello\\n"}{"source":0,"data":"two"} \n';
    const connection = await run({ path: 'cat', id: 'cat' }, early);
    const stdout = await output(connection);
    await stdout.until(({ rest }) => rest === 'hello\ntwo');
    connection.send('{"process_id":"cat","source":0}\n');
    expect(await exitOf(connection)).to.equal(0);
    expect((await stdout.ended()).rest).to.equal('hello\ntwo');
    expect(connection.payloads).to.have.lengthOf(2);
  });

  it('take a request in chunks, with payloads directly behind it', async () => {
    const body = JSON.stringify({ path: 'cat' });
    const connection = keep(await RawConnection.open(garden.socket));
    const chunks = [body.slice(0, 5), body.slice(5)].map((part) => `${part.length.toString(16)}\r\n${part}\r\n`);
    connection.send(
      `POST /containers/c/processes HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n${chunks.join('')}0\r\n\r\n` +
        '{"source":0,"data":"x"}{"source":0}',
    );
    expect(await exitOf(connection)).to.equal(0);
    expect((await (await output(connection)).ended()).rest).to.equal('x');
  });

  it('never lose output, however late it is asked for', async () => {
    for (let round = 0; round < 100; round += 1) {
      const connection = await run({ path: 'echo', args: ['hi', 'stdout'] });
      const stdout = await output(connection);
      expect((await stdout.ended()).rest).to.equal('hi stdout\n');
      expect(await exitOf(connection)).to.equal(0);
    }
    const unread = await sh('seq 1 20000; echo err >&2');
    expect(await exitOf(unread)).to.equal(0);
    expect((await (await output(unread)).ended()).rest.trimEnd().split('\n')).to.have.lengthOf(20_000);
    expect((await (await output(unread, 'stderr')).ended()).rest).to.equal('err\n');
  });

  it('give each output to one reader only, and nothing of a stream that is unknown', async () => {
    const connection = await sh('echo once; read -r line');
    const first = await (await output(connection)).until(({ rest }) => rest === 'once\n');
    const second = await output(connection);
    await second.until(({ text }) => text.includes('\r\n\r\n'));
    expect(second.hasEnded).to.equal(false);
    connection.send('{"source":0}');
    await Promise.all([first.ended(), second.ended(), connection.ended()]);
    expect([first.rest, second.rest]).to.deep.equal(['once\n', '']);
    const unknown = keep(
      await RawConnection.request(garden.socket, 'GET /containers/c/processes/x/attaches/999999/stdout'),
    );
    expect((await unknown.ended()).text).to.match(/^HTTP\/1.1 200 OK\r\n.*\r\n\r\n$/s);
  });

  it('report the exit to each of six who are attached, and again to those who come later', async () => {
    const connection = await sh('sleep 1; exit 12', { id: 'twelve' });
    const clients = await Promise.all(Array.from({ length: 6 }, () => attach('twelve')));
    expect(await Promise.all([connection, ...clients].map(exitOf))).to.deep.equal(Array(7).fill(12));
    for (let again = 0; again < 2; again += 1) {
      const late = await attach('twelve');
      expect(late.head).to.match(/^HTTP\/1.1 200 OK/);
      expect(await exitOf(late)).to.equal(12);
    }
  });

  it('give everyone who attaches the output from then on', async () => {
    const connection = await sh('echo a; read -r x; echo "got $x"; exit 3', { id: 'p' });
    const stdout = await (await output(connection)).until(({ rest }) => rest === 'a\n');
    const other = await attach('p');
    other.send('{"source":0,"data":"from another\\n"}');
    expect(await exitOf(other)).to.equal(3);
    expect((await (await output(other)).ended()).rest).to.equal('got from another\n');
    expect((await stdout.ended()).rest).to.equal('a\ngot from another\n');
  });

  it('see the end of their input when every client has ended it or is gone', async () => {
    const connection = await sh('cat; echo end', { id: 'p' });
    const stdout = await output(connection);
    const [second, third] = [await attach('p'), await attach('p')];
    connection.send('{"source":0,"data":"1"}{"source":0}{"source":0,"data":"ignored"}');
    await stdout.until(({ rest }) => rest === '1');
    second.close();
    third.send('{"source":0,"data":"3"}');
    await stdout.until(({ rest }) => rest === '13');
    third.send('{"source":0}');
    expect((await stdout.ended()).rest).to.equal('13end\n');
    expect(await exitOf(connection)).to.equal(0);
  });

  it('obey signals, also after the end of input and directly after their start', async () => {
    const trapping = await sh("trap 'exit 42' TERM; echo ready; while :; do sleep 0.05; done");
    await (await output(trapping)).until(({ rest }) => rest === 'ready\n');
    trapping.send('{"source":0}\n{"process_id":"x","signal":0}\n');
    expect(await exitOf(trapping)).to.equal(42);
    for (let round = 0; round < 20; round += 1) {
      const connection = await run({ path: 'sleep', args: ['1000'] }, '{"signal":1}');
      expect(await exitOf(connection)).to.equal(137);
    }
  });

  it('end their input at a payload that means nothing, and go on', async () => {
    for (const payload of ['{}', 'null', '{"signal":7}', '{"source":2}', '{"data":"x"}', '{"source":0,"data":null}']) {
      const connection = await sh('cat; echo end; exit 5');
      const stdout = await output(connection);
      connection.send(payload);
      expect(await exitOf(connection), payload).to.equal(5);
      expect((await stdout.ended()).rest).to.equal('end\n');
    }
  });

  it('do not mind an empty text, a window without a terminal, and numbers of streams', async () => {
    const connection = await sh('cat');
    const stdout = await output(connection);
    connection.send(
      '{"source":0,"data":""}{"tty":{"window_size":{"columns":9,"rows":9}}}{"tty":{}}{"source":1,"data":"y"}',
    );
    await stdout.until(({ rest }) => rest === 'y');
    expect(connection.hasEnded).to.equal(false);
  });

  it('lose a client who talks gibberish, with all his connections, and run on', async () => {
    const bad = [
      'garbage',
      '{"source":}',
      '{oops',
      '[1]',
      '5 ',
      '{"source":"x"}',
      '{"signal":true}',
      '{"tty":3}',
      '\0',
    ];
    await sh('sleep 1000', { id: 'p' });
    for (const payload of bad) {
      const client = await attach('p');
      const outputs = [await output(client), await output(client, 'stderr')];
      for (const one of outputs) await one.until(({ text }) => text.includes('\r\n\r\n'));
      client.send(payload);
      await Promise.all([client, ...outputs].map((one) => one.ended()));
      expect(client.payloads, payload).to.have.lengthOf(1);
    }
    expect((await call('GET', '/containers/c/info')).json).to.have.deep.property('ProcessIDs', ['p']);
  });

  it('take input in bytes that are no UTF-8, and in every kind of escape', async () => {
    const connection = await sh('od -An -tx1 -v | tr -d " \\n"');
    const stdout = await output(connection);
    connection.send(Buffer.from('{"source":0,"data":"\xff\xc3\\u00e9\\ud83d\\udc80\\n\\"\\\\"}{"source":0}', 'latin1'));
    expect((await stdout.ended()).rest).to.equal('ffc3c3a9f09f92800a225c');
  });

  it('take large input no faster than they read it', async () => {
    const connection = await sh('sleep 0.3; wc -c');
    const stdout = await output(connection);
    const piece = `${JSON.stringify({ source: 0, data: 'x'.repeat(100_000) })}\n`;
    for (let count = 0; count < 200; count += 1) connection.send(piece);
    connection.send('{"source":0}');
    expect((await stdout.ended()).rest).to.equal('20000000\n');
    expect(await exitOf(connection)).to.equal(0);
  });

  it('are ended while a client still sends what they do not read', async () => {
    const connection = await sh('sleep 0.2; exit 6');
    const piece = `${JSON.stringify({ source: 0, data: 'x'.repeat(100_000) })}\n`;
    for (let count = 0; count < 100; count += 1) connection.send(piece);
    expect(await exitOf(connection)).to.equal(6);
  });

  it('have a terminal of 80 by 24, or of the size that is given and changed', async () => {
    // A runtime may set the size only just after the start.
    const sizeKnown = 'until [ "$(stty size)" != "0 0" ]; do :; done; stty size';
    const plain = await sh(sizeKnown, { tty: {} });
    expect((await (await output(plain)).ended()).rest).to.equal('24 80\r\n');
    const script = `${sizeKnown}; trap 'stty size; exit 4' WINCH; echo ready; while :; do sleep 0.05; done`;
    const sized = await sh(script, { tty: { window_size: { columns: 456, rows: 123 } } });
    const stdout = await (await output(sized)).until(({ rest }) => rest.includes('ready\r\n'));
    sized.send('{"tty":{"window_size":{"columns":0,"rows":7}}}{"tty":{"window_size":{"columns":120,"rows":40}}}');
    expect(await exitOf(sized)).to.equal(4);
    expect((await stdout.ended()).rest).to.equal('123 456\r\nready\r\n40 120\r\n');
  });

  it('give all that they write to a terminal', async () => {
    const expected = `${Array.from({ length: 10_000 }, (_, index) => index + 1).join(' ')}\r\n`;
    for (let round = 0; round < 100; round += 1) {
      const connection = await run({ path: 'seq', args: ['-s', ' ', '10000'], tty: {} });
      expect((await (await output(connection)).ended()).rest).to.equal(expected);
    }
  });

  it('keep a terminal open until it is told the end of input', async () => {
    const connection = await sh('cat; echo done', { tty: {}, id: 'p' });
    const stdout = await output(connection);
    connection.send('{"source":0}');
    const other = await attach('p');
    other.send('{"source":0,"data":"x\\n\\u0004"}');
    expect(await exitOf(connection)).to.equal(0);
    expect((await stdout.ended()).rest).to.equal('x\r\nx\r\ndone\r\n');
  });

  it('are not listed when their executable is missing, and their id stays free', async () => {
    for (const [path, reason] of [
      ['nope', 'executable file not found in $PATH'],
      ['', 'executable file not found in $PATH'],
      ['/no/pe', 'no such file or directory'],
    ]) {
      const { status, json } = await call('POST', '/containers/c/processes', { path, id: 'p' });
      expect(status).to.equal(500);
      expect(json).to.include({ Type: 'ExecutableNotFoundError' });
      expect(json).to.have.property('Message').that.includes(reason);
      expect((await call('GET', '/containers/c/info')).json).to.have.property('ProcessIDs', null);
    }
    const connection = await run({ path: 'echo', args: ['here'], id: 'p' });
    expect((await (await output(connection)).ended()).rest).to.equal('here\n');
    expect((await call('POST', '/containers/c/processes', { path: 'true', id: 'p' })).text).to.match(
      /"Message":"process ID 'p' already in use"/,
    );
  });

  it('are unknown by another id, and in another container', async () => {
    const process = await call('GET', '/containers/c/processes/nope');
    expect(process.status).to.equal(404);
    expect(process.json).to.deep.equal({
      Type: 'ProcessNotFoundError',
      Message: 'unknown process: nope',
      Handle: '',
      ProcessID: 'nope',
      Binary: '',
    });
    for (const [method, path, body] of [
      ['GET', '/containers/zzz/processes/p', undefined],
      ['POST', '/containers/zzz/processes', { path: 'true' }],
    ] as const) {
      expect((await call(method, path, body)).json).to.include({ Type: 'ContainerNotFoundError', Handle: 'zzz' });
    }
  });

  it('leave the connection of a failed Run to the next request', async () => {
    const connection = keep(
      await RawConnection.request(garden.socket, 'POST /containers/c/processes', { path: 'nope' }),
    );
    await connection.until(({ text }) => text.includes('ExecutableNotFoundError'));
    connection.send('GET /ping HTTP/1.1\r\nHost: api\r\n\r\n');
    await connection.until(({ text }) => text.endsWith('\r\n\r\n{}\n'));
    const body = JSON.stringify({ path: 'true' });
    connection.send(
      `POST /containers/c/processes HTTP/1.1\r\nHost: api\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await connection.ended();
    expect(connection.text).to.match(/\{"process_id":"[^"]+","exit_status":0\}\n$/);
  });

  it('end with 137 for their clients when the container is destroyed', async () => {
    const connection = await sh('echo up; sleep 1000');
    const stdout = await (await output(connection)).until(({ rest }) => rest === 'up\n');
    expect((await call('DELETE', '/containers/c')).status).to.equal(200);
    expect(await exitOf(connection)).to.equal(137);
    await stdout.ended();
    await call('POST', '/containers', { handle: 'c' });
  });

  it('take a hundred clients at once', async () => {
    await sh('read -r line; echo "$line"; exit 9', { id: 'p' });
    const clients = await Promise.all(Array.from({ length: 100 }, () => attach('p')));
    const outputs = await Promise.all(clients.map((client) => output(client)));
    clients[57]!.send('{"source":0,"data":"all of you\\n"}');
    expect(await Promise.all(clients.map(exitOf))).to.deep.equal(Array(100).fill(9));
    for (const one of outputs) expect((await one.ended()).rest).to.equal('all of you\n');
  });

  it('run on without input when their client goes before he has an answer', async () => {
    for (let round = 0; round < 5; round += 1) {
      const body = { path: 'sh', args: ['-c', 'cat; exit 8'], id: `p${round}` };
      const connection = await RawConnection.request(garden.socket, 'POST /containers/c/processes', body);
      await eventually(async () => {
        const { status } = await call('GET', '/containers/c/info');
        return status === 200 || undefined;
      });
      connection.close();
      await eventually(async () => {
        const client = keep(await RawConnection.request(garden.socket, `GET /containers/c/processes/p${round}`));
        await client.until(({ text }) => text.includes('\n{'));
        if (client.head.includes('404')) return undefined;
        expect(await exitOf(client)).to.equal(8);
        return true;
      });
    }
  });

  it('run on, and are found again, when their client goes in the middle of each stream', async () => {
    const connection = await sh('while :; do echo tick; sleep 0.01; done', { id: 'p' });
    const stdout = await (await output(connection)).until(({ length }) => length > 300);
    stdout.close();
    connection.send('{"source":0,"da');
    connection.close();
    const again = await attach('p');
    await (await output(again)).until(({ length }) => length > 300);
    again.send('{"signal":1}');
    expect(await exitOf(again)).to.equal(137);
  });

  it('do not fill the memory of the server for a reader who does not read', async () => {
    const connection = await run({ path: 'yes', id: 'p' });
    const stdout = await output(connection);
    stdout.socket.pause();
    const log = join(garden.depot, '@output/c/p/log');
    const { ino } = statSync(log);
    // It has begun anew: more was said than a log holds.
    await eventually(() => statSync(log, { throwIfNoEntry: false })?.ino !== ino || undefined, { timeoutMs: 60_000 });
    const { rssKb } = await residentMemory(garden.pid);
    expect(rssKb).to.be.below(400_000);
    connection.send('{"signal":1}');
    expect(await exitOf(connection)).to.equal(137);
    stdout.socket.resume();
    expect((await stdout.ended()).rest).to.match(/^(y\n)+$/);
  });
});

async function residentMemory(pid: number): Promise<{ rssKb: number }> {
  const { readFile } = await import('node:fs/promises');
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return { rssKb: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) };
}
