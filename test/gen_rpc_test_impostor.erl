%% SPDX-License-Identifier: Apache-2.0
%% A server of its own, made of gen_tcp and docs/PROTOCOL.md alone: it lets one client in, as the node
%% that this means, and answers what a test wants it to.
-module(gen_rpc_test_impostor).

-export([listen/0, port/1, let_in/2, request/1, close/1]).

-type t() :: gen_tcp:socket().
-export_type([t/0]).

-define(TIMEOUT, 10000).
-define(HEAD, 8).
-define(MAGIC, 16#8e, "GR").
-define(SERVER_LABEL, "gen_rpc server proof v1", 0).
-define(MAX_MESSAGE, 16#FFFFFFFF).

-define(CLIENT_HELLO, 1).
-define(SERVER_HELLO, 2).
-define(PROOF, 3).
-define(RESULT, 4).

-define(REQUEST, 1).

-spec listen() -> t().
listen() ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {ip, {127, 0, 0, 1}}, {active, false},
                                        {nodelay, true}, {backlog, 1000}]),
    Listener.

-spec port(t()) -> inet:port_number().
port(Listener) ->
    {ok, Port} = inet:port(Listener),
    Port.

%% The next client, authenticated.
-spec let_in(t(), Cookie :: binary()) -> gen_tcp:socket().
let_in(Listener, Cookie) ->
    {ok, Socket} = gen_tcp:accept(Listener, ?TIMEOUT),
    Hello = receive_message(Socket, ?CLIENT_HELLO),
    ServerHello = message(?SERVER_HELLO, <<0:32, ?MAX_MESSAGE:64,
                                           (crypto:strong_rand_bytes(32))/binary>>),
    ok = gen_tcp:send(Socket, ServerHello),
    Proof = receive_message(Socket, ?PROOF),
    Target = target(Hello),
    Start = <<?MAGIC, 1, ?RESULT, 0, (35 + byte_size(Target)):16, 0, (byte_size(Target)):16,
              Target/binary>>,
    Mine = crypto:mac(hmac, sha256, Cookie, [<<?SERVER_LABEL>>, Hello, ServerHello, Proof, Start]),
    ok = gen_tcp:send(Socket, [Start, Mine]),
    Socket.

%% The id of the next request.
-spec request(gen_tcp:socket()) -> pos_integer().
request(Socket) ->
    <<Type, _:24, Size:32, Id:64>> = gen_rpc_test_stranger:recv(Socket, 16),
    _ = Size =:= 0 orelse gen_rpc_test_stranger:recv(Socket, Size),
    case Type of
        ?REQUEST -> Id;
        _Control -> request(Socket)
    end.

-spec close(t()) -> ok.
close(Listener) ->
    gen_tcp:close(Listener).

target(<<_:?HEAD/binary, _:44/binary, N:16, _Name:N/binary, M:16, Target:M/binary, _/binary>>) ->
    Target.

message(Kind, Body) ->
    <<?MAGIC, 1, Kind, 0, (byte_size(Body)):16, Body/binary>>.

receive_message(Socket, Kind) ->
    <<?MAGIC, 1, Kind, 0, Size:16>> = Head = gen_rpc_test_stranger:recv(Socket, ?HEAD),
    <<Head/binary, (gen_rpc_test_stranger:recv(Socket, Size))/binary>>.
