import { expect } from 'chai';
import { load as parseYaml } from 'js-yaml';
import { stagingErrorInfo, stagingInfo } from '../../../../lib/lifecycle/builder/dea/staging-info.js';
import { BuildpackReleaseFailedError, NoAppDetectedError } from '../../../../lib/lifecycle/builder/errors.js';

describe("the DEA's staging info", () => {
  const outcome = {
    buildpackPath: '/var/admin_buildpacks/ruby-1a2b',
    detectOutput: 'Ruby/Rails',
    procfile: { web: 'bundle exec rackup' },
    released: { web: 'rails s', console: 'irb' },
  };

  it('has the four fields of an app that was built', () => {
    expect(parseYaml(stagingInfo(outcome, null))).to.deep.equal({
      buildpack_path: '/var/admin_buildpacks/ruby-1a2b',
      detected_buildpack: 'Ruby/Rails',
      start_command: 'bundle exec rackup',
      effective_procfile: { web: 'bundle exec rackup' },
    });
  });

  it('has nulls for what is not known', () => {
    const info = stagingInfo({ ...outcome, detectOutput: null, procfile: null, released: {} }, undefined);
    expect(parseYaml(info)).to.deep.include({ detected_buildpack: null, start_command: null, effective_procfile: {} });
  });

  it('keeps a long or awkward start command in one line', () => {
    const command = `FOO="a: b # c" 'x' ${'very '.repeat(60)}long`;
    const info = stagingInfo(outcome, command);
    expect(info.split('\n')).to.have.length(6);
    expect(parseYaml(info)).to.have.property('start_command', command);
  });

  it('names type and message of a failure', () => {
    expect(parseYaml(stagingErrorInfo(new NoAppDetectedError()))).to.deep.equal({
      staging_error: {
        type: 'NoAppDetectedError',
        message: 'An application could not be detected by any available buildpack',
      },
    });
    expect(parseYaml(stagingErrorInfo(new BuildpackReleaseFailedError('no\nrelease\n')))).to.deep.equal({
      staging_error: { type: 'BuildpackReleaseFailed', message: 'Release info failed:\nno\nrelease\n' },
    });
  });
});
