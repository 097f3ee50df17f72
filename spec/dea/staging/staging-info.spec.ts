import { expect } from 'chai';
import { buildpackKey, parseStagingInfo } from '../../../lib/dea/staging/staging-info.js';

describe('what a builder left in staging_info.yml', () => {
  it('is read field by field', () => {
    const info = parseStagingInfo(
      'buildpack_path: /b/ruby-1\ndetected_buildpack: Ruby\nstart_command: run\neffective_procfile: {web: run, worker: 8}\n',
    );
    expect(info).to.deep.include({ detected_buildpack: 'Ruby', start_command: 'run' });
    expect(info.effective_procfile).to.deep.equal({ web: 'run', worker: '8' });
    expect(buildpackKey(info, '/b', null)).to.equal('ruby-1');
    expect(buildpackKey(info, '/other', null)).to.equal(null);
    expect(buildpackKey(info, '/b', 'chosen')).to.equal('chosen');
  });

  for (const yaml of [
    undefined,
    '',
    '- a list',
    'a: [',
    'text',
    '\0',
    'detected_buildpack: {a: 1}\nstart_command: [x]\n',
  ]) {
    it(`counts as absent when it is ${JSON.stringify(yaml)}`, () => {
      const { detected_buildpack, start_command, effective_procfile } = parseStagingInfo(yaml);
      for (const field of [detected_buildpack, start_command, effective_procfile]) expect(field ?? null).to.equal(null);
    });
  }

  it('is not spelled out when it refers to itself over and over', () => {
    const levels = Array.from({ length: 40 }, (_, level) => `l${level + 1}: &l${level + 1} [*l${level}, *l${level}]`);
    const bomb = `l0: &l0 [x]\n${levels.join('\n')}\neffective_procfile: {web: *l40}\nstart_command: *l40\n`;
    expect(parseStagingInfo(bomb)).to.deep.include({ effective_procfile: null, start_command: null });
  });
});
