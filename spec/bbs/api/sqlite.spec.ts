import { itServesTheApi } from './themes/all.js';

describe('the API of a board on SQLite', () => itServesTheApi());
