import { expect } from 'chai';
import { durationSeconds, parseDurationMs } from '../../lib/config/duration.js';

describe('durations', () => {
  it('are read as Go writes them', () => {
    expect(parseDurationMs('30s')).to.equal(30_000);
    expect(parseDurationMs('1h30m')).to.equal(5_400_000);
    expect(parseDurationMs('1.5s')).to.equal(1500);
    expect(parseDurationMs('250ms')).to.equal(250);
    expect(parseDurationMs('0')).to.equal(0);
  });

  it('are refused when they are none', () => {
    for (const text of ['', 's', '30', '30 s', '-1s', '1x', '1s2']) expect(parseDurationMs(text)).to.equal(undefined);
  });

  it('are seconds in a configuration, written as a number or with a unit', () => {
    expect(durationSeconds.parse(2.5)).to.equal(2.5);
    expect(durationSeconds.parse('2m')).to.equal(120);
    expect(durationSeconds.safeParse('soon').error!.issues[0]!.message).to.contain('30s');
    expect(durationSeconds.safeParse(-1).success).to.equal(false);
  });
});
