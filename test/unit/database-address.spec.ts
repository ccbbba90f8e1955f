import { databaseAddress } from '../../src/database/database-address';

describe('databaseAddress', () => {
  test('says where a URL leads and not how to log in', () => {
    const address = databaseAddress('postgresql://jo:s3cret@db.example.com:6432/payments');
    expect(address).toEqual({
      host: 'db.example.com',
      port: 6432,
      database: 'payments',
      user: 'jo',
      isLocal: false,
      tls: false,
    });
    expect(databaseAddress('postgresql://jo@db.example.com/payments?sslmode=verify-full').tls).toBe(true);
  });

  test.each([
    'postgres://u@localhost/d',
    'postgres://u@LOCALHOST/d',
    'postgres://u@127.0.0.1/d',
    'postgres://u@127.8.9.10/d',
    'postgres://u@[::1]:5433/d',
    'postgres:///d?host=/var/run/postgresql',
    'postgres://u@%2Fvar%2Frun%2Fpostgresql/d',
  ])('%s is this machine', (url) => {
    expect(databaseAddress(url).isLocal).toBe(true);
  });

  test.each([
    'postgres://u@db.example.com/d',
    'postgres://u@localhost.example.com/d',
    'postgres://u@127.example.com/d',
    'postgres://u@10.0.0.1/d',
    'postgres://u@[2001:db8::1]/d',
    'postgres://u@postgres/d',
    'postgres://u@localhost/d?host=db.example.com',
  ])('%s is another machine', (url) => {
    expect(databaseAddress(url).isLocal).toBe(false);
  });
});
