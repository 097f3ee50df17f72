import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { BbsProgram } from '../support/bbs-program.js';
import { boardDatabases } from '../support/board-databases.js';
import { BoardLoad } from '../support/board-load.js';
import { RawEventStream } from '../support/raw-event-stream.js';

/** Kills on each kind of database; `npm run chaos` takes fifty. */
const kills = Math.ceil(Number(process.env.CHAOS_ROUNDS ?? 4) / 2);
const clients = 16;
const longestRoundMs = 1500;

describe('a board that is killed again and again', function () {
  this.timeout((kills * 10 + 60) * 1000);
  let directory: string;
  let program: BbsProgram;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'bbs-chaos-'));
  });

  afterEach(async () => {
    await program?.dispose();
    await rm(directory, { recursive: true, force: true });
  });

  for (const [name, databaseIn] of Object.entries(boardDatabases)) {
    it(`has all that it acknowledged and nothing by half, on ${name}`, async () => {
      program = await BbsProgram.create({ directory, config: await databaseIn(directory) });
      const load = new BoardLoad(clients);
      let events = 0;
      for (let round = 0; round < kills; round += 1) {
        await program.start();
        await load.settle(program.client);
        const streams = await Promise.all(
          ['lrp_instances', 'tasks'].map((kind) => RawEventStream.open(program.url, `/v1/events/${kind}.r1`)),
        );
        let isKilled = false;
        const working = load.run(program.client, { isOver: () => isKilled });
        await delay(Math.random() * longestRoundMs);
        isKilled = true;
        await program.kill();
        await working;
        for (const stream of streams) {
          expect(await stream.ended).to.equal('broken');
          expect(stream.events.map(({ id }) => id)).to.deep.equal(stream.events.map((_, index) => index));
          events += stream.events.length;
        }
      }
      await program.start();
      await load.settle(program.client);
      expect(load.acknowledged).to.be.above(0);
      if (process.env.CHAOS_ROUNDS) {
        const { acknowledged, unacknowledged } = load;
        console.log(
          `      ${kills} kills; ${acknowledged} calls acknowledged, ${unacknowledged} not; ${events} events`,
        );
      }
    });
  }
});
