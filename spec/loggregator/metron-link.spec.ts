import { expect } from 'chai';
import { type LogData, silentLogger } from '../../lib/logging/logger.js';
import { encodeEnvelope } from '../../lib/loggregator/envelope.js';
import { MetronLink } from '../../lib/loggregator/metron-link.js';
import { eventually } from '../support/eventually.js';
import { startMetron } from '../support/metron.js';

describe('the link to a Metron', function () {
  this.timeout(30_000);
  let link: MetronLink;
  let reports: LogData[];

  const logger = {
    ...silentLogger,
    warn: (message: string, data: LogData = {}) => {
      if (message === 'loggregator.messages.dropped') reports.push(data);
    },
  };

  function open(port: number, options: { host?: string; reportPeriodMs?: number; retryMs?: number } = {}): MetronLink {
    const { host = '127.0.0.1', ...periods } = options;
    reports = [];
    link = new MetronLink({ router: { host, port }, logger, ...periods });
    link.start();
    return link;
  }

  afterEach(() => link?.stop());

  const line = (number: number) =>
    encodeEnvelope('DEA', 0n, {
      kind: 'LogMessage',
      appId: 'app',
      text: `line ${number}`,
      type: 'OUT',
      sourceType: 'App',
      sourceInstance: '0',
    });
  const reported = () => reports.reduce((sum, { count }) => sum + (count as number), 0);

  it('delivers in order', async () => {
    const metron = await startMetron();
    try {
      open(metron.port);
      for (let number = 0; number < 500; number += 1) link.send(line(number));
      await eventually(() => metron.envelopes.length === 500 || undefined);
      expect(metron.logs('app').map(({ text }) => text)).to.deep.equal(
        Array.from({ length: 500 }, (_, number) => `line ${number}`),
      );
    } finally {
      await metron.stop();
    }
  });

  it('sends what waits when it is stopped', async () => {
    const metron = await startMetron();
    try {
      open(metron.port);
      await eventually(async () => {
        link.send(line(0));
        return metron.envelopes.length > 0 || undefined;
      });
      const before = metron.envelopes.length;
      for (let number = 0; number < 200; number += 1) link.send(line(number));
      await link.stop();
      await eventually(() => metron.envelopes.length >= before + 200 || undefined);
    } finally {
      await metron.stop();
    }
  });

  it('loses no more than a Metron misses while it is gone, and tells how many', async () => {
    const first = await startMetron();
    const { port } = first;
    open(port, { reportPeriodMs: 200 });
    link.send(line(0));
    await eventually(() => first.envelopes.length === 1 || undefined);
    await first.stop();
    for (let number = 1; number <= 20; number += 1) link.send(line(number));
    await eventually(() => reported() > 0 || undefined);
    expect(reports[0]).to.include({ router: `127.0.0.1:${port}` });
    expect(reports[0]!.error).to.match(/ECONNREFUSED/);
    const second = await startMetron({ port });
    try {
      link.send(line(21));
      await eventually(() => second.envelopes.length === 1 || undefined);
      expect(second.logs('app')[0]!.text).to.equal('line 21');
    } finally {
      await second.stop();
    }
  });

  it('keeps little of a burst while the name does not resolve, and tells of the rest once per period', async () => {
    open(9, { host: 'metron.invalid', reportPeriodMs: 300, retryMs: 50 });
    for (let number = 0; number < 100_000; number += 1) link.send(line(number));
    await link.uncongested();
    await eventually(() => reports.length > 0 || undefined);
    expect(reports).to.have.length(1);
    expect(reported()).to.equal(90_000);
    await link.stop();
    expect(reported()).to.equal(100_000);
  });

  it('lets one who can wait deliver a burst of any size', async () => {
    const metron = await startMetron();
    try {
      open(metron.port);
      for (let number = 0; number < 20_000; number += 1) {
        link.send(line(number));
        if (number % 100 === 0) await link.uncongested();
      }
      await link.stop();
      expect(reported()).to.equal(0);
      await eventually(() => metron.envelopes.length > 19_000 || undefined, { timeoutMs: 10_000 });
      const numbers = metron.logs('app').map(({ text }) => Number(text.slice(5)));
      expect(numbers).to.deep.equal([...numbers].sort((a, b) => a - b));
    } finally {
      await metron.stop();
    }
  });

  it('counts what is too long for a datagram', async () => {
    const metron = await startMetron();
    try {
      open(metron.port, { reportPeriodMs: 100 });
      link.send(Buffer.alloc(70_000));
      link.send(line(1));
      await eventually(() => (metron.envelopes.length === 1 && reported() === 1) || undefined);
    } finally {
      await metron.stop();
    }
  });

  it('takes nothing any more once it is stopped', async () => {
    open(9);
    await link.stop();
    await link.stop();
    link.send(line(0));
    await link.uncongested();
  });
});
