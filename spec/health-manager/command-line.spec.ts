import { expect } from 'chai';
import { parseCommandLine, UsageError } from '../../lib/health-manager/command-line.js';
import { moduleNames } from '../../lib/health-manager/health-manager.js';

const parsed = (line: string) => parseCommandLine(line.split(' '));

describe('the command line of hm9000', () => {
  it('runs everything with a configuration alone', () => {
    expect(parsed('hm9000.yml')).to.eql({ kind: 'run', modules: moduleNames, args: ['hm9000.yml'] });
  });

  it('runs the modules that are named', () => {
    const expected = { kind: 'run', modules: ['listener', 'api'], args: ['hm9000.yml', '--check'] };
    expect(parsed('hm9000.yml --only listener,api --check')).to.eql(expected);
    expect(parsed('--only=listener,api hm9000.yml --check')).to.eql(expected);
  });

  it("understands upstream's commands", () => {
    const modulesOf = (line: string) => {
      const command = parsed(line);
      return command.kind === 'run' ? command.modules : command.kind;
    };
    expect(modulesOf('listen --config=a.yml')).to.eql(['listener']);
    expect(modulesOf('analyze --config a.yml --poll')).to.eql(['fetcher', 'analyzer']);
    expect(modulesOf('shred --poll --config=a.yml')).to.eql(['shredder']);
    expect(parsed('dump --config=a.yml')).to.eql({ kind: 'dump', configPath: 'a.yml', isRaw: false });
    expect(modulesOf('listen --config=a.yml --debugAddr=127.0.0.1:17014')).to.eql(['listener']);
    expect(modulesOf('listen --debugAddr 127.0.0.1:17014 --config a.yml')).to.eql(['listener']);
    expect(parsed('dump --raw --config=a.yml')).to.eql({ kind: 'dump', configPath: 'a.yml', isRaw: true });
  });

  it('does once what upstream does once without --poll', () => {
    for (const name of ['fetch_desired', 'analyze', 'send', 'shred']) {
      expect(parsed(`${name} --config a.yml`)).to.eql({ kind: 'once', name, configPath: 'a.yml' });
    }
  });

  it('says what it cannot understand', () => {
    for (const line of [
      'a.yml --only',
      'a.yml --only=nobody',
      'listen',
      'listen --config=a.yml --fast',
      'dump a.yml',
      'send --poll --config=a.yml',
      '--config=a.yml',
    ]) {
      expect(() => parsed(line), line).to.throw(UsageError);
    }
    expect(() => parsed('listen')).to.throw('Config path required');
    expect(() => parsed('lsten --config=a.yml')).to.throw("No help topic for 'lsten'");
  });
});
