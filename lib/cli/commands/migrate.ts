import { setTimeout as delay } from 'node:timers/promises';
import type { Backend, HandOver } from '../api/resources.js';
import { CliError } from '../cli-error.js';
import type { Session } from '../session.js';

const pollMs = 1000;
const sideNames: Record<Backend, string> = { diego: 'Diego', dea: 'the DEA cells' };

/**
 * Has the other side run an app, and tells of it until nothing is left where it ran before. The Cloud Controller goes on
 * with it when this command is ended.
 *
 * @throws CliError when the app stops, or is sent back, meanwhile
 */
export async function migrate(session: Session, name: string, to: Backend): Promise<void> {
  const { client, line } = session;
  const app = await client.getApp(name);
  const before = await client.handOver(app.guid);
  if (before.diego !== (to === 'diego')) await client.updateApp(app.guid, { diego: to === 'diego' });
  else if (before.target === null && !before.instances[otherSide(to)])
    return line(`${name} is on ${sideNames[to]} already`);
  if (app.state === 'STOPPED') return line(`${name} is stopped; its next start is on ${sideNames[to]}`);
  line(`Handing ${name} over to ${sideNames[to]}; it goes on without this command`);
  await watch(session, name, to);
  line(`${name} is on ${sideNames[to]}`);
}

async function watch(session: Session, name: string, to: Backend): Promise<void> {
  for (let shown = ''; ; ) {
    const app = await session.client.getApp(name);
    const handOver = await session.client.handOver(app.guid);
    if (app.state === 'STOPPED') throw new CliError(`${name} has been stopped`);
    if (app.diego !== (to === 'diego')) throw new CliError(`${name} has been sent back`);
    const summary = summarize(handOver, app.instances);
    if (summary !== shown) session.line(summary);
    shown = summary;
    if (isDone(handOver, to)) return;
    await delay(pollMs, undefined, { signal: session.terminal.signal });
  }
}

/** Whether nothing is waited for, and nothing left on the other side. */
function isDone({ target, instances }: HandOver, to: Backend): boolean {
  return target === null && instances[otherSide(to)] === 0;
}

function otherSide(side: Backend): Backend {
  return side === 'diego' ? 'dea' : 'diego';
}

/** `2 on the DEA cells, 1 on Diego, of 2`. */
function summarize({ instances }: HandOver, wanted: number): string {
  const count = (side: Backend) => `${instances[side] ?? 'nobody knows how many'} on ${sideNames[side]}`;
  return `${count('dea')}, ${count('diego')}, of ${wanted}`;
}
