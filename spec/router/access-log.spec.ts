import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { silentLogger } from '../../lib/logging/logger.js';
import { AccessLog, type AccessRecord, formatAccessRecord } from '../../lib/router/access-log.js';

const record: AccessRecord = {
  host: 'dora.apps.example.com',
  startedMs: Date.UTC(2016, 10, 24, 15, 6, 40, 123) + 0.25,
  requestLine: 'GET /x?y=1 HTTP/1.1',
  status: 200,
  bytesReceived: 0,
  bytesSent: 28,
  referer: undefined,
  userAgent: 'curl/7.43.0',
  client: '10.0.0.4:52341',
  backend: '10.0.16.12:61001',
  forwardedFor: '10.0.0.4',
  forwardedProto: 'http',
  requestId: '5b1e',
  responseSeconds: 0.002134,
  gorouterSeconds: 0.00012,
  app: 'f7a1',
  appIndex: '0',
  instanceId: '0d2b',
  routerError: '',
};

describe('the access log', () => {
  it('tells a request in one line', () => {
    expect(formatAccessRecord(record)).to.equal(
      'dora.apps.example.com - [2016-11-24T15:06:40.123250000Z] "GET /x?y=1 HTTP/1.1" 200 0 28 "-" "curl/7.43.0" ' +
        '"10.0.0.4:52341" "10.0.16.12:61001" x_forwarded_for:"10.0.0.4" x_forwarded_proto:"http" ' +
        'vcap_request_id:"5b1e" response_time:0.002134 gorouter_time:0.000120 app_id:"f7a1" app_index:"0" ' +
        'instance_id:"0d2b" x_cf_routererror:"-"',
    );
  });

  it('lets no client forge a line or a value, or fill the disk with one', () => {
    const line = formatAccessRecord({ ...record, userAgent: `a" b:"c\n${'x'.repeat(5000)}`, host: 'h\r\nh' });
    expect(line).not.to.match(/[\r\n]/);
    expect(line).to.contain('"a_ b:_c_xxx');
    expect(line.length).to.be.lessThan(1600);
  });

  it('is on the disk once it is stopped', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'access-log-'));
    try {
      const file = join(directory, 'access.log');
      const log = new AccessLog({ file, logger: silentLogger });
      log.start();
      for (let count = 0; count < 100; count += 1) log.write(record);
      await log.stop();
      await log.stop();
      expect((await readFile(file, 'utf8')).split('\n')).to.have.lengthOf(101);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('does not disturb anybody when its file cannot be written', async () => {
    const messages: string[] = [];
    const log = new AccessLog({
      file: '/nonexistent/access.log',
      logger: { ...silentLogger, error: (message) => messages.push(message) },
    });
    log.start();
    log.write(record);
    await log.stop();
    log.write(record);
    expect(messages).to.deep.equal(['access-log.error']);
  });
});
