# SPDX-License-Identifier: Apache-2.0
import Config

# Settings of :gen_rpc are those of docs/SETTINGS.md, with Elixir's spelling of the same terms.
config :gen_rpc,
  call_receive_timeout: 5_000,
  send_timeout: 2_000,
  # A cast on a connection that is busy is refused at once, and put_later/2 says so.
  cast_overload_policy: :error

if config_env() == :test do
  # Any free port, so that tests don't get in each other's way.
  config :gen_rpc, tcp_server_port: 0, secret_cookie: "of the shelf's tests"
end
