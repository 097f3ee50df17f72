import type { IncomingMessage, ServerResponse } from 'node:http';
import { expect } from 'chai';
import { StagingCompletions } from '../../../lib/dea/cloud-controller/staging-completions.js';
import { bodyOf, type HttpServer, refusingUrl, startHttpServer } from '../../support/http-server.js';
import { type RecordedLine, recordingLogger } from '../../support/recording-logger.js';

describe('completions of stagings that came over HTTP', () => {
  let controller: HttpServer;
  let completions: StagingCompletions;
  let lines: RecordedLine[];
  let received: { authorization: string | undefined; contentType: string | undefined; body: unknown }[];
  let answer: (request: IncomingMessage, response: ServerResponse) => void;
  const ids = { app_id: 'app-1', task_id: 'task-1' };

  beforeEach(async () => {
    received = [];
    answer = (_request, response) => void response.end('{}');
    controller = await startHttpServer(async (request, response) => {
      const { authorization, 'content-type': contentType } = request.headers;
      received.push({ authorization, contentType, body: JSON.parse((await bodyOf(request)).toString()) });
      answer(request, response);
    });
    connect();
  });

  afterEach(async () => {
    await completions.stop();
    await controller.stop();
  });

  function connect(options: { ccUrl?: string; inactivityTimeoutMs?: number; stopGraceMs?: number } = {}): void {
    const recording = recordingLogger();
    lines = recording.lines;
    completions = StagingCompletions.create({
      ccUrl: `http://internal:se%40cret@127.0.0.1:${controller.port}/v2?x`,
      agentId: 'agent-1',
      logger: recording.logger,
      ...options,
    });
  }

  const complete = async (): Promise<void> => {
    const answers = completions.answersTo(ids);
    answers.setUp(null, 'http://log');
    answers.refused('Not enough memory resources available');
    await answers.delivered!();
  };

  it('posts the result with app and agent, and the credentials of the URL', async () => {
    const answers = completions.answersTo(ids);
    const result = {
      ...ids,
      detected_buildpack: 'Static',
      buildpack_key: null,
      droplet_sha1: 'abc',
      detected_start_command: 'run',
      procfile: null,
    };
    answers.completed(result);
    await answers.delivered!();
    expect(controller.requests).to.deep.equal(['POST /internal/dea/staging/app-1/completed']);
    expect(received).to.deep.equal([
      {
        authorization: `Basic ${Buffer.from('internal:se@cret').toString('base64')}`,
        contentType: 'application/json',
        body: { ...result, dea_id: 'agent-1' },
      },
    ]);
    expect(JSON.stringify(lines)).not.to.contain('cret');
  });

  it('tells refusals and stops with the app id, too', async () => {
    await complete();
    const stopped = completions.answersTo(ids);
    stopped.stopped();
    await stopped.delivered!();
    expect(received.map(({ body }) => body)).to.deep.equal([
      { ...ids, error: 'Not enough memory resources available', dea_id: 'agent-1' },
      { ...ids, error: 'Error staging: task stopped', dea_id: 'agent-1' },
    ]);
  });

  it('30: tries again at 500 and 404, until the third is accepted', async () => {
    const statuses = [500, 404, 200];
    answer = (_request, response) => void response.writeHead(statuses.shift()!).end();
    await complete();
    expect(received).to.have.lengthOf(3);
    expect(lines.at(-1)!.message).to.equal('cloud_controller.staging_response.accepted');
  });

  it('gives up after three times', async () => {
    answer = (_request, response) => void response.writeHead(503).end();
    await complete();
    expect(received).to.have.lengthOf(3);
  });

  for (const status of [201, 302, 400, 401]) {
    it(`takes ${status} for an end, and warns`, async () => {
      answer = (_request, response) => void response.writeHead(status, { Location: '/elsewhere' }).end();
      await complete();
      expect(received).to.have.lengthOf(1);
      expect(lines.at(-1)).to.deep.include({ level: 'warn' });
      expect(lines.at(-1)!.data).to.include({ http_status: status });
    });
  }

  it('30: tries refused and cut connections again', async () => {
    let cuts = 0;
    answer = (request, response) => {
      cuts += 1;
      if (cuts < 3) request.socket.destroy();
      else response.end('{}');
    };
    await complete();
    expect(received).to.have.lengthOf(3);
    await completions.stop();

    connect({ ccUrl: await refusingUrl() });
    await complete();
    expect(lines.filter(({ message }) => message.endsWith('.failed')).map(({ data }) => data.error)).to.deep.equal(
      Array(3).fill('ECONNREFUSED'),
    );
  });

  it('gives a Cloud Controller up that hangs', async () => {
    answer = () => {};
    connect({ inactivityTimeoutMs: 300 });
    await complete();
    expect(received).to.have.lengthOf(3);
  });

  it('cuts what is under way after a grace time when it stops', async () => {
    answer = () => {};
    connect({ stopGraceMs: 100 });
    const completing = complete();
    await completions.stop();
    await completing;
    expect(received.length).to.be.at.most(1);
  });

  it('keeps odd ids within their part of the path', async () => {
    const answers = completions.answersTo({ app_id: '../../x?y#z', task_id: 't' });
    answers.refused('no');
    await answers.delivered!();
    expect(controller.requests).to.deep.equal(['POST /internal/dea/staging/..%2F..%2Fx%3Fy%23z/completed']);
  });
});
