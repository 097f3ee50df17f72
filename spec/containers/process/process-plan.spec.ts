import { expect } from 'chai';
import { InvalidSpecError } from '../../../lib/containers/errors.js';
import {
  checkProcessId,
  homeOf,
  parseCeilings,
  processEnvironment,
  rlimitArguments,
} from '../../../lib/containers/process/process-plan.js';

describe('the plan of a process without isolation', () => {
  const options = {
    containerEnv: [],
    processEnv: [],
    user: 'vcap',
    home: '/depot/h/rootfs/home/vcap',
    containerPath: '/depot/h',
    handle: 'h',
    searchPath: '/usr/bin',
  };

  it('puts users into homes of their own, root and bare numbers at the top', () => {
    const homes = ['vcap', 'vcap:vcap', '2000:2000', 'alice', 'root', '0', undefined, '1234', '../..'].map(homeOf);
    expect(homes).to.deep.equal(['/home/vcap', '/home/vcap', '/home/vcap', '/home/alice', '/', '/', '/', '/', '/']);
  });

  it('lets the last of several values of a variable win, and keeps what follows the first equals sign', () => {
    const environment = processEnvironment({ ...options, containerEnv: ['A=1', 'PATH=/x'], processEnv: ['A=b=c'] });
    expect(environment).to.include({ A: 'b=c', PATH: '/x', HOME: options.home, USER: 'vcap' });
  });

  it('marks the process, whatever it was given', () => {
    const environment = processEnvironment({ ...options, processEnv: ['ISTHMUS_CONTAINER=elsewhere'] });
    expect(environment).to.include({ ISTHMUS_CONTAINER: '/depot/h', ISTHMUS_HANDLE: 'h' });
  });

  it('refuses an entry that is no assignment', () => {
    expect(() => processEnvironment({ ...options, processEnv: ['=x'] })).to.throw(InvalidSpecError);
    expect(() => processEnvironment({ ...options, processEnv: ['x'] })).to.throw(InvalidSpecError);
  });

  it('refuses ids that are no file names', () => {
    for (const id of ['', '.', '..', 'a/b', 'a\0b', 'x'.repeat(201)]) {
      expect(() => checkProcessId(id), JSON.stringify(id)).to.throw(InvalidSpecError);
    }
    expect(checkProcessId('a_B-1.2+3')).to.equal('a_B-1.2+3');
  });

  it('asks for no more than the engine may give, and never limits processes of the whole user', () => {
    const limits = rlimitArguments({ nofile: 16384, core: 0, nproc: 10 }, { nofile: 4096 });
    expect(limits).to.deep.equal(['--nofile=4096', '--core=0']);
  });

  it('reads the ceilings as the kernel lists them', () => {
    const text = [
      'Limit                     Soft Limit           Hard Limit           Units     ',
      'Max cpu time              unlimited            unlimited            seconds   ',
      'Max open files            1024                 524288               files     ',
    ].join('\n');
    expect(parseCeilings(text)).to.deep.equal({ nofile: 524288 });
  });
});
