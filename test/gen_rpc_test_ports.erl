%% SPDX-License-Identifier: Apache-2.0
%% The driver's ports as the suites use them: two of them joined in one VM, and what their owner,
%% the calling process, does with their messages.
-module(gen_rpc_test_ports).

-export([settings/0, listen/1, make_pair/2, make_tls_pair/2, close/1, tag/1]).
-export([load_tls/2, tls/1, tls_options/2]).
-export([hold_tls/1]).
-export([next/0, unflushed/0, next_but/1, down/1, none/2, forget_messages/0]).
-export([flush/1, round_trip/3, take_requests/2]).

-define(LOOPBACK, {127, 0, 0, 1}).

%% Longer than any test, ms.
-define(LONG, 60000).

%% How long a message that must come may take, ms.
-define(WAIT, 10000).

%% A listener and two ports that it has joined over loopback. The server's is not active yet.
-spec make_pair(map(), map()) -> {Listener :: port(), Client :: port(), Server :: port()}.
make_pair(ClientSettings, ServerSettings) ->
    {Listener, Number} = listen(10),
    Client = gen_rpc_port:open(),
    Settings = maps:merge((settings())#{target => <<"server">>}, ClientSettings),
    ok = gen_rpc_port:connect(Client, {?LOOPBACK, Number}, ?LONG, Settings),
    {Listener, accepted, Server, _} = next(),
    ok = gen_rpc_port:handshake(Server, maps:merge(settings(), ServerSettings)),
    [_, _] = [{_, up, _, _} = unflushed() || _ <- [1, 2]],
    {Listener, Client, Server}.

%% The same over TLS, with the configurations that load_tls/2 has loaded.
-spec make_tls_pair(map(), map()) -> {Listener :: port(), Client :: port(), Server :: port()}.
make_tls_pair(ClientSettings, ServerSettings) ->
    make_pair(maps:merge(tls(client), ClientSettings), maps:merge(tls(server), ServerSettings)).

%% Makes a certificate for `server', which is what both ports of a pair call themselves, in this
%% directory, and loads a TLS configuration from it for each role, on a node, until that ends.
-spec load_tls(gen_rpc_test_node:t(), file:filename()) -> ok.
load_tls(Node, Dir) ->
    Files = gen_rpc_test_certs:node(gen_rpc_test_certs:new(Dir), server, []),
    Contents = maps:map(fun(_, File) -> {ok, Bytes} = file:read_file(File), Bytes end, Files),
    gen_rpc_test_node:call(Node, ?MODULE, hold_tls, [Contents]).

%% The part of load_tls/2 that runs on the node.
-spec hold_tls(#{atom() => binary()}) -> ok.
hold_tls(Contents) ->
    Caller = self(),
    Ref = make_ref(),
    _ = spawn(fun() ->
                      [begin
                           Options = maps:merge(default_tls(Role), Contents),
                           {ok, Number, true} = gen_rpc_port:load_tls(gen_rpc_port:open(), Options),
                           persistent_term:put({?MODULE, Role}, {Number, Options})
                       end || Role <- [client, server]],
                      Caller ! Ref,
                      receive after infinity -> ok end
              end),
    receive Ref -> ok after ?WAIT -> error(not_loaded) end.

-spec tls(client | server) -> #{tls := gen_rpc_port:tls_number()}.
tls(Role) ->
    {Number, _} = persistent_term:get({?MODULE, Role}),
    #{tls => Number}.

%% The options of the configuration of a role, with changes.
-spec tls_options(client | server, map()) -> gen_rpc_port:tls().
tls_options(Role, Changes) ->
    {_, Options} = persistent_term:get({?MODULE, Role}),
    maps:merge(Options, Changes).

default_tls(Role) ->
    #{role => Role, node => <<"server">>, certfile => <<>>, keyfile => <<>>, cacertfile => <<>>,
      password => <<>>, dhfile => <<>>, crlfile => <<>>, ciphers => <<>>, versions => {0, 0},
      depth => 8, verify => true, fail_if_no_peer_cert => true, session_tickets => true}.

-spec listen(pos_integer()) -> {port(), inet:port_number()}.
listen(MaxConnections) ->
    Listener = gen_rpc_port:open(),
    {ok, Number} = gen_rpc_port:listen(Listener, {?LOOPBACK, 0},
                                       #{max_connections => MaxConnections}),
    {Listener, Number}.

-spec settings() -> gen_rpc_port:connection().
settings() ->
    #{name => <<"server">>,
      cookie => <<"cookie">>,
      authentication_timeout => ?LONG,
      send_timeout => ?LONG,
      keepalive_interval => ?LONG,
      idle_timeout => infinity,
      output_limit => 4 * 1024 * 1024,
      max_message_size => 100 * 1024 * 1024,
      max_running => infinity,
      tell_cancels => false,
      compress => 0,
      compress_context => false,
      compression_threshold => 1024,
      socket_keepalive => {5, 6, 7}}.

-spec tag(term()) -> binary().
tag(Term) ->
    term_to_binary(Term).

%% The next message that comes; but a port that listens has its question answered.
-spec next() -> term().
next() ->
    receive
        {Port, flush} = Message ->
            case is_answered(Port) of
                true -> next();
                false -> Message
            end;
        Message ->
            Message
    after ?WAIT ->
        error(no_message)
    end.

%% The next message but those that ask for a flush.
-spec unflushed() -> term().
unflushed() ->
    case next() of
        {Port, flush} -> ok = gen_rpc_port:flush(Port), unflushed();
        Message -> Message
    end.

%% The next message that is not of this port.
-spec next_but(port()) -> term().
next_but(Port) ->
    case next() of
        Message when element(1, Message) =:= Port -> next_but(Port);
        Message -> Message
    end.

%% Why a port is down, whatever it says before that.
-spec down(port()) -> gen_rpc_port:reason().
down(Port) ->
    receive
        {Port, down, Reason} -> Reason;
        {Other, flush} -> ok = gen_rpc_port:flush(Other), down(Port)
    after ?WAIT ->
        error(still_up)
    end.

%% Writes all that is queued, and leaves no question for it behind.
-spec flush([port()]) -> ok.
flush(Ports) ->
    lists:foreach(fun gen_rpc_port:flush/1, Ports),
    receive {_, flush} -> flush(Ports) after 0 -> ok end.

%% A request and its reply, the same bytes.
-spec round_trip(port(), port(), binary() | [binary()]) -> binary().
round_trip(Client, Server, Bytes) when is_binary(Bytes) ->
    round_trip(Client, Server, [Bytes]);
round_trip(Client, Server, Parts) ->
    Ref = make_ref(),
    Id = erlang:unique_integer([positive]),
    ok = gen_rpc_port:call(Client, Id, infinity, tag(Ref), Parts),
    {Server, requests, [{Id, Request}]} = unflushed(),
    ok = gen_rpc_port:credit(Server),
    ok = gen_rpc_port:reply(Server, Id, tag(make_ref()), [Request]),
    {Ref, Reply} = unflushed(),
    Reply.

%% So many requests, and in how many messages they came.
-spec take_requests(port(), non_neg_integer()) ->
          {Messages :: non_neg_integer(), [{Id :: non_neg_integer(), binary()}]}.
take_requests(Server, N) ->
    take_requests(Server, N, 0, []).

take_requests(_Server, 0, Messages, Taken) ->
    {Messages, lists:append(lists:reverse(Taken))};
take_requests(Server, Missing, Messages, Taken) ->
    receive
        {Server, requests, Requests} ->
            ok = gen_rpc_port:credit(Server),
            take_requests(Server, Missing - length(Requests), Messages + 1, [Requests | Taken]);
        {Port, flush} ->
            ok = gen_rpc_port:flush(Port),
            take_requests(Server, Missing, Messages, Taken)
    after ?WAIT ->
        error({missing, Missing})
    end.

%% Nothing else was sent: what was under way has come before the answer to another call.
-spec none(port(), port()) -> ok.
none(Client, Server) ->
    _ = round_trip(Client, Server, <<"last">>),
    receive Any -> error({unexpected, Any}) after 0 -> ok end.

%% Those of gen_tcp, too.
-spec close([port()]) -> ok.
close(Ports) ->
    lists:foreach(fun gen_rpc_port:close/1, Ports).

%% But a port that listens goes on.
-spec forget_messages() -> ok.
forget_messages() ->
    receive
        {Port, flush} -> _ = is_answered(Port), forget_messages();
        _ -> forget_messages()
    after 0 ->
        ok
    end.

%% The question of a port that is no connection, but listens: whether its owner has looked at all.
is_answered(Port) ->
    gen_rpc_port:info(Port) =:= undefined andalso gen_rpc_port:flush(Port) =:= ok.
