import { mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createStenoLogger, type StenoLevel, type StenoLogger, type StenoOptions } from '../../lib/logging/steno.js';
import { eventually } from '../support/eventually.js';
import { startSyslog } from '../support/syslog.js';

describe('the Steno logger', () => {
  let directory: string;
  let file: string;
  let logger: StenoLogger | undefined;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'steno-'));
    file = join(directory, 'log');
  });

  afterEach(async () => {
    logger?.close();
    logger = undefined;
    await rm(directory, { recursive: true });
  });

  function open(options: Partial<StenoOptions> = {}): StenoLogger {
    logger = createStenoLogger({ source: 'Dea', level: 'info', file, ...options });
    return logger;
  }

  async function lines(path = file): Promise<Record<string, unknown>[]> {
    const text = await readFile(path, 'utf8');
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  }

  function logSome(level: StenoLevel): Promise<Record<string, unknown>[]> {
    const opened = open({ level });
    opened.child({ app_guid: 'a' }, 'Dea::Instance').debug1('finest', { n: 1 });
    opened.info('100% plain');
    opened.error('failed', { reason: 'x' });
    return lines();
  }

  it('writes all keys in the order that readers know', async () => {
    const [line] = await logSome('info');
    expect(Object.keys(line!)).to.deep.equal([
      'timestamp',
      'message',
      'log_level',
      'source',
      'data',
      'thread_id',
      'fiber_id',
      'process_id',
      'file',
      'lineno',
      'method',
    ]);
    expect(line).to.include({ message: '100% plain', log_level: 'info', source: 'Dea', process_id: process.pid });
    expect(line!.timestamp).to.be.closeTo(Date.now() / 1000, 5);
  });

  it('tells where a line was logged, also by a child', async () => {
    function reportSomething() {
      open().child({}, 'Dea::Instance').info('here');
    }
    reportSomething();
    const [line] = await lines();
    expect(line).to.include({ method: 'reportSomething', thread_id: process.pid, fiber_id: process.pid });
    expect(line!.file).to.match(/\/spec\/logging\/steno\.spec\.ts$/);
    expect(line!.lineno).to.be.a('number').and.greaterThan(0);
  });

  it('merges the tags of a child logger into the data', async () => {
    const [line] = await logSome('all');
    expect(line).to.deep.include({ log_level: 'debug1', source: 'Dea::Instance', data: { app_guid: 'a', n: 1 } });
  });

  it('leaves out what is less severe than its level', async () => {
    const all = await logSome('error');
    expect(all).to.have.length(1);
    expect(all[0]).to.deep.include({ message: 'failed', data: { reason: 'x' } });
  });

  it('says nothing at all when it is off', async () => {
    open({ level: 'off' }).fatal('end');
    expect(await lines()).to.deep.equal([]);
  });

  it('takes another level, also for the children that there are', async () => {
    const child = open().child({ n: 1 });
    child.debug('before');
    logger!.setLevel('debug2');
    child.debug1('after');
    expect((await lines()).map(({ message }) => message)).to.deep.equal(['after']);
  });

  it('takes secrets out of data, tags, and texts', async () => {
    open()
      .child({ attributes: { services: [{ credentials: 'hidden' }], env: ['A=hidden'] } })
      .error('no answer from http://user:hidden@host/x', {
        error: 'GET https://host/x?Signature=hidden&y=1',
        backtrace: ['at nats://user:hidden@host'],
        environment: { A: 'hidden' },
      });
    const text = await readFile(file, 'utf8');
    expect(text).to.not.contain('hidden');
    const [line] = await lines();
    expect(line!.message).to.equal('no answer from http://host/x');
    expect(line!.data).to.deep.include({ error: 'GET https://host/x?Signature=<redacted>&y=1' });
  });

  it('survives data that JSON cannot hold', async () => {
    const circle: Record<string, unknown> = { big: 1n };
    circle.self = circle;
    open().warn('odd', { circle });
    expect((await lines())[0]!.data).to.have.nested.property('circle.big', '1');
  });

  it('goes on in a new file when the old one was moved away', async () => {
    open().info('first');
    await rename(file, `${file}.1`);
    logger!.info('second');
    logger!.reopen();
    logger!.info('third');
    const messages = async (path: string) => (await lines(path)).map(({ message }) => message);
    expect(await messages(`${file}.1`)).to.deep.equal(['first', 'second']);
    expect(await messages(file)).to.deep.equal(['third']);
  });

  it('appends to a file that is there, and refuses one that cannot be', async () => {
    open().info('first');
    logger!.close();
    open().info('second');
    expect(await lines()).to.have.length(2);
    expect(() => open({ file: join(directory, 'missing/log') })).to.throw(/ENOENT/);
  });

  it('writes what Go components write where that is wanted', async () => {
    open({ source: 'directory_server', format: 'gosteno' }).info('listening', { port: 1 });
    const [line] = await lines();
    expect(Object.keys(line!)).to.deep.equal(['timestamp', 'process_id', 'source', 'log_level', 'message', 'data']);
    expect(line).to.deep.include({ source: 'directory_server', log_level: 'info', data: { port: 1 } });
  });

  describe('with syslog', () => {
    let socket: string;

    beforeEach(() => {
      socket = join(directory, 'dev-log');
    });

    const openBoth = (level: StenoLevel = 'all') => open({ level, syslog: 'vcap.dea', syslogSocket: socket });

    /** Everything but the JSON of a datagram, and the JSON. */
    function takeApart(datagram: string): { priority: number; tag: string; line: Record<string, unknown> } {
      const [, priority, tag, json] = /^<(\d+)>\w{3} [ \d]\d [\d:]{8} ([^:]+): (\{.*\})$/.exec(datagram)!;
      return { priority: Number(priority), tag: tag!, line: JSON.parse(json!) };
    }

    it('sends each line under its identity, with the priority of its level', async () => {
      const syslog = await startSyslog(socket);
      try {
        openBoth();
        for (const level of ['fatal', 'error', 'warn', 'info', 'debug', 'debug1'] as const) logger![level](level);
        await eventually(() => syslog.datagrams.length === 6 || undefined);
        const all = syslog.datagrams.map(takeApart);
        expect(all.map(({ priority, line }) => [line.message, priority])).to.deep.equal([
          ['fatal', 10],
          ['error', 11],
          ['warn', 12],
          ['info', 14],
          ['debug', 15],
          ['debug1', 15],
        ]);
        expect(all.every(({ tag }) => tag === `vcap.dea[${process.pid}]`)).to.equal(true);
        expect(await lines()).to.have.length(6);
      } finally {
        await syslog.stop();
      }
    });

    it('cuts long messages, in syslog only', async () => {
      const syslog = await startSyslog(socket);
      try {
        openBoth().info('m'.repeat(4000));
        await eventually(() => syslog.datagrams.length === 1 || undefined);
        expect(takeApart(syslog.datagrams[0]!).line.message).to.equal(`${'m'.repeat(3069)}...`);
        expect((await lines())[0]!.message).to.have.length(4000);
      } finally {
        await syslog.stop();
      }
    });

    it('sends a line whose data are too long for a datagram without them', async () => {
      const syslog = await startSyslog(socket);
      try {
        openBoth().info('big', { text: 'd'.repeat(100_000) });
        await eventually(() => syslog.datagrams.length === 1 || undefined);
        expect(takeApart(syslog.datagrams[0]!).line.data).to.have.property('omitted_bytes').above(100_000);
      } finally {
        await syslog.stop();
      }
    });

    it('goes on when syslog comes late, and when it was restarted', async () => {
      openBoth().info('nobody hears');
      const first = await startSyslog(socket);
      await eventually(() => {
        logger!.info('one');
        return first.datagrams.length > 0 || undefined;
      });
      await first.stop();
      logger!.info('nobody hears that either');
      const second = await startSyslog(socket);
      try {
        await eventually(() => {
          logger!.info('two');
          return second.datagrams.some((datagram) => datagram.includes('two')) || undefined;
        });
        expect((await lines()).length).to.be.at.least(4);
      } finally {
        await second.stop();
      }
    });
  });
});
