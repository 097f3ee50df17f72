import { expect } from 'chai';
import { type LogLine, RecentLogs } from '../../../lib/mini-cc/logs/recent-logs.js';

const line = (text: string, timestampNs = 1n): LogLine => ({
  timestampNs,
  type: 'OUT',
  sourceType: 'App',
  sourceInstance: '0',
  text: Buffer.from(text),
});
const texts = (logs: RecentLogs, app: string) => logs.recent(app).map(({ text }) => text.toString());

describe('the last lines of apps', () => {
  it('are kept up to a number for each app', () => {
    const logs = new RecentLogs({ linesPerApp: 2 });
    for (const text of ['1', '2', '3']) logs.add('a', line(text));
    logs.add('b', line('other'));
    expect([texts(logs, 'a'), texts(logs, 'b'), texts(logs, 'c')]).to.deep.equal([['2', '3'], ['other'], []]);
  });

  it('come in the order of their times', () => {
    const logs = new RecentLogs();
    logs.add('a', line('late', 1_448_000_000_000_000_002n));
    logs.add('a', line('early', 1_448_000_000_000_000_001n));
    logs.add('a', line('late, too', 1_448_000_000_000_000_002n));
    expect(texts(logs, 'a')).to.deep.equal(['early', 'late', 'late, too']);
  });

  it('take no more than a total: the app that was silent for longest is forgotten', () => {
    const logs = new RecentLogs({ totalBytes: 3000 });
    logs.add('a', line('x'.repeat(800)));
    logs.add('b', line('x'.repeat(800)));
    logs.add('a', line('x'));
    logs.add('c', line('x'.repeat(1000)));
    expect(['a', 'b', 'c'].map((app) => texts(logs, app).length)).to.deep.equal([2, 0, 1]);
    logs.add('d', line('x'.repeat(10_000)));
    expect(['a', 'b', 'c', 'd'].map((app) => texts(logs, app).length)).to.deep.equal([0, 0, 0, 1]);
  });

  it('are told to those who follow, until they or the logs end', () => {
    const logs = new RecentLogs();
    const heard: string[] = [];
    const follower = (name: string) => ({
      line: ({ text }: LogLine) => heard.push(`${name}: ${text}`),
      end: () => heard.push(`${name} ends`),
    });
    logs.add('a', line('before'));
    const unfollow = logs.follow('a', follower('first'));
    logs.follow('a', follower('second'));
    logs.add('a', line('1'));
    logs.add('b', line('of another app'));
    unfollow();
    unfollow();
    logs.add('a', line('2'));
    logs.stop();
    logs.stop();
    logs.add('a', line('3'));
    expect(heard).to.deep.equal(['first: 1', 'second: 1', 'second: 2', 'second ends']);
  });
});
