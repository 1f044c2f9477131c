%% SPDX-License-Identifier: Apache-2.0
%% Two nodes with certificates of one authority, and strangers who speak TLS: openssl's s_client and
%% s_server, as programs that a test can start, type into, read and end; a first message of their
%% own; and one in between who changes a bit.
-module(gen_rpc_test_tls).

-export([start_pair/1, restart/5, patient/0, versions/0]).
-export([s_client/2, s_client/3, s_server/1, type/2, read_until/2, end_of/1, stop/1]).
-export([start_relay/2, start_testssl/3, findings/1]).
-export([client_hello/1, server_hello/1, start_flipper/1, flipper_port/1, flip/2, stop_flipper/1]).

-type suite() :: #{pair := gen_rpc_test_pair:t(),
                   ca := gen_rpc_test_certs:ca(),
                   client := gen_rpc_test_certs:cert(),
                   server := gen_rpc_test_certs:cert()}.
-type program() :: {port(), Unread :: string()}.
-type options() :: [{atom(), term()}].
-type flipper() :: {pid(), inet:port_number()}.
-export_type([suite/0, program/0, flipper/0]).

%% How long a program may be silent when it has something to say, ms.
-define(TIMEOUT, 15000).

%% What testssl may take, and how long a program lives that nobody stops, s.
-define(TESTSSL_TIME, 400).
-define(LIFE_TIME, 60).

%% More than a machine needs for a hundred handshakes at once, also under a sanitizer, ms.
-define(PATIENCE, 200000).

%% Of mbedTLS 3.6, as the linker counts.
-define(WITH_1_3, 21).

%%% Nodes

%% A pair as in gen_rpc_test_pair, an authority in this directory, a certificate for each node.
-spec start_pair(file:filename()) -> suite().
start_pair(Dir) ->
    {#{node := Client}, #{node := Server}} = Pair = gen_rpc_test_pair:start(),
    Ca = gen_rpc_test_certs:new(Dir),
    #{pair => Pair, ca => Ca, client => gen_rpc_test_certs:node(Ca, Client),
      server => gen_rpc_test_certs:node(Ca, Server)}.

%% Restarts both, the client with the way to the server over TLS: options of TLS for each, and more
%% settings for each. The server's TCP listener is there, too.
-spec restart(suite(), options(), options(), [{atom(), term()}], [{atom(), term()}]) ->
          gen_rpc_test_pair:t().
restart(#{pair := {Client0, Server0}}, ClientOptions, ServerOptions, ClientSettings,
        ServerSettings) ->
    Server = gen_rpc_test_node:restart_app(
               Server0, ServerSettings ++ [{ssl_server_port, 0},
                                           {ssl_server_options, ServerOptions}]),
    Client = gen_rpc_test_node:restart_app(
               Client0, ClientSettings ++ [gen_rpc_test_node:env(ssl, [Server]),
                                           {ssl_client_options, ClientOptions}]),
    [ok = gen_rpc_test_events:clear(Node) || Node <- [Client, Server]],
    {Client, Server}.

%% Settings of both sides with which a handshake has all the time that it needs among many.
-spec patient() -> [{atom(), term()}].
patient() ->
    [{connect_timeout, ?PATIENCE}, {authentication_timeout, ?PATIENCE}].

%% Those that the driver's library has.
-spec versions() -> ['tlsv1.2' | 'tlsv1.3'].
versions() ->
    Driver = filename:join(code:priv_dir(gen_rpc), "gen_rpc_drv.so"),
    {match, [Number]} = re:run(os:cmd("ldd '" ++ Driver ++ "'"), "libmbedtls\\.so\\.([0-9]+)",
                               [{capture, all_but_first, list}]),
    ['tlsv1.2' | ['tlsv1.3' || list_to_integer(Number) >= ?WITH_1_3]].

%%% Strangers

%% One connection from a free port of loopback to the given one, with TLS of its own on either side.
%% It shows this certificate, and looks at none. It ends with that connection.
-spec start_relay(inet:port_number(), [string()]) -> {program(), inet:port_number()}.
start_relay(Port, Identity) ->
    Number = gen_rpc_test_node:free_port(),
    Address = fun(N) -> "127.0.0.1:" ++ integer_to_list(N) end,
    Script = "dir=$(mktemp -d) && mkfifo $dir/back && from=$1 && to=$2 && shift 2 && "
        "echo ready && trap 'rm -r $dir' EXIT && "
        "openssl s_server -quiet -naccept 1 -accept $from \"$@\" <$dir/back 2>/dev/null | "
        "openssl s_client -quiet -connect $to \"$@\" >$dir/back 2>/dev/null",
    Program0 = open_for_a_while("sh", ["-c", Script, "sh", Address(Number), Address(Port)
                                       | Identity]),
    {Program, _} = read_until(Program0, "ready\n"),
    ok = gen_rpc_test_node:wait(fun() -> is_listening(Number) end),
    {Program, Number}.

%% Without a connection: the first one is for somebody else.
is_listening(Number) ->
    {ok, Sockets} = file:read_file("/proc/net/tcp"),
    Local = io_lib:format(" 0100007F:~4.16.0B 00000000:0000 0A ", [Number]),
    binary:match(Sockets, iolist_to_binary(Local)) =/= nomatch.

%% Has testssl look at a port on loopback, and nowhere else. The file is for what it finds.
-spec start_testssl(inet:port_number(), [string()], file:filename()) ->
          {program(), file:filename()}.
start_testssl(Port, Arguments, File) ->
    Options = ["--quiet", "--color", "0", "--nodns", "none", "--warnings", "off",
               "--jsonfile", File],
    {open("/bin/sh", ["-c", "exec \"$@\" </dev/null >/dev/null 2>&1", "sh", find("timeout"),
                      integer_to_list(?TESTSSL_TIME), find("testssl")] ++ Options ++ Arguments ++
              ["127.0.0.1:" ++ integer_to_list(Port)]), File}.

%% What it has found, when it is done.
-spec findings({program(), file:filename()}) ->
          [{Id :: string(), Severity :: string(), Finding :: string()}].
findings({Program, File}) ->
    _ = end_of(Program, 1000 * ?TESTSSL_TIME + ?TIMEOUT),
    {ok, Json} = file:read_file(File),
    {match, Findings} = re:run(Json, "\"id\" *: \"([^\"]*)\".*?\"severity\" *: \"([^\"]*)\".*?"
                                     "\"finding\" *: \"([^\"]*)\"",
                               [global, dotall, {capture, all_but_first, list}]),
    [list_to_tuple(Finding) || Finding <- Findings].

%% The first message of a client that has this version at most, and suites of all times.
-spec client_hello(0..16#FFFF) -> binary().
client_hello(16#0304) ->
    Versions = extension(43, <<2, 16#0304:16>>),
    Share = extension(51, <<36:16, 29:16, 32:16, (crypto:strong_rand_bytes(32))/binary>>),
    client_hello(16#0303, <<16#1303:16, 16#1301:16>>, <<Versions/binary, Share/binary>>);
client_hello(Version) ->
    client_hello(Version, <<>>, <<>>).

client_hello(Version, Suites0, Extensions0) ->
    Suites = <<Suites0/binary, 16#c02b:16, 16#cca9:16, 16#c02f:16, 16#c009:16, 16#c013:16,
               16#002f:16>>,
    Extensions = <<(extension(10, <<6:16, 29:16, 23:16, 24:16>>))/binary, % X25519, P-256, P-384
                   (extension(11, <<1, 0>>))/binary,                     % points not compressed
                   (extension(13, <<4:16, 4, 3, 4, 1>>))/binary,         % ECDSA, RSA with SHA-256
                   Extensions0/binary>>,
    Body = <<Version:16, (crypto:strong_rand_bytes(32))/binary, 0,
             (byte_size(Suites)):16, Suites/binary, 1, 0,
             (byte_size(Extensions)):16, Extensions/binary>>,
    <<22, (min(Version, 16#0301)):16, (4 + byte_size(Body)):16, 1, (byte_size(Body)):24,
      Body/binary>>.

%% The answer of a server that has chosen this version, and one of our suites.
-spec server_hello(0..16#FFFF) -> binary().
server_hello(Version) ->
    Body = <<Version:16, (crypto:strong_rand_bytes(32))/binary, 0, 16#c02b:16, 0>>,
    <<22, Version:16, (4 + byte_size(Body)):16, 2, (byte_size(Body)):24, Body/binary>>.

extension(Type, Data) ->
    <<Type:16, (byte_size(Data)):16, Data/binary>>.

%% Connects to a port on loopback, says nothing inside of TLS, and ends: its exit status, and what
%% it has seen.
-spec s_client(inet:port_number(), [string()]) -> {non_neg_integer(), string()}.
s_client(Port, Arguments) ->
    end_of(open("/bin/sh", ["-c", "exec \"$@\" </dev/null", "sh", find("openssl")
                            | s_client_arguments(Port, Arguments)])).

%% The same with a hand at its keyboard.
-spec s_client(inet:port_number(), [string()], interactive) -> program().
s_client(Port, Arguments, interactive) ->
    open_for_a_while("openssl", s_client_arguments(Port, Arguments)).

s_client_arguments(Port, Arguments) ->
    ["s_client", "-connect", "127.0.0.1:" ++ integer_to_list(Port) | Arguments].

%% Listens on a free port of loopback.
-spec s_server([string()]) -> {program(), inet:port_number()}.
s_server(Arguments) ->
    Program0 = open_for_a_while("openssl", ["s_server", "-accept", "127.0.0.1:0" | Arguments]),
    {Program, Output} = read_until(Program0, "ACCEPT 127\\.0\\.0\\.1:[0-9]+\n"),
    {match, [Number]} = re:run(Output, "ACCEPT 127\\.0\\.0\\.1:([0-9]+)",
                               [{capture, all_but_first, list}]),
    {Program, list_to_integer(Number)}.

-spec type(program(), iodata()) -> ok.
type({Port, _}, Text) ->
    true = port_command(Port, Text),
    ok.

%% What it has said up to and including a pattern, and the program behind that.
-spec read_until(program(), string()) -> {program(), string()}.
read_until({Port, Text}, Pattern) ->
    case re:run(Text, Pattern) of
        {match, [{Start, Length} | _]} ->
            {Seen, Rest} = lists:split(Start + Length, Text),
            {{Port, Rest}, Seen};
        nomatch ->
            receive
                {Port, {data, Data}} -> read_until({Port, Text ++ Data}, Pattern);
                {Port, {exit_status, Status}} -> error({ended, Status, Text})
            after ?TIMEOUT ->
                error({silent, Text})
            end
    end.

%% Waits until it ends by itself.
-spec end_of(program()) -> {non_neg_integer(), string()}.
end_of(Program) ->
    end_of(Program, ?TIMEOUT).

end_of({Port, Text}, Timeout) ->
    receive
        {Port, {data, Data}} -> end_of({Port, Text ++ Data}, Timeout);
        {Port, {exit_status, Status}} -> {Status, Text}
    after Timeout ->
        error({silent, Text})
    end.

%% Ends it at once, with what it has begun.
-spec stop(program()) -> ok.
stop({Port, _}) ->
    case erlang:port_info(Port, os_pid) of
        {os_pid, Pid} ->
            _ = os:cmd("kill -TERM " ++ integer_to_list(Pid)),
            receive {Port, {exit_status, _}} -> ok end;
        undefined ->
            ok
    end.

find(Program) ->
    case os:find_executable(Program) of
        false -> error({not_installed, Program});
        File -> File
    end.

%% When its starter ends, its input is closed; not all take that for the end.
open_for_a_while(Program, Arguments) ->
    open(find("timeout"), [integer_to_list(?LIFE_TIME), find(Program) | Arguments]).

open(File, Arguments) ->
    {gen_rpc_test_command:start(File, Arguments), ""}.

%%% In between

%% Forwards the connections that it gets to a port on loopback. Linked to its starter.
-spec start_flipper(inet:port_number()) -> flipper().
start_flipper(Target) ->
    Starter = self(),
    Pid = spawn_link(fun() ->
                             {ok, Listening} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}, binary,
                                                                  {active, false}]),
                             {ok, Number} = inet:port(Listening),
                             Starter ! {self(), Number},
                             Flipper = self(),
                             _ = spawn_link(fun() -> accept(Listening, Flipper) end),
                             forward(#{target => Target, flip => none, peers => #{}})
                     end),
    receive {Pid, Number} -> {Pid, Number} end.

-spec flipper_port(flipper()) -> inet:port_number().
flipper_port({_, Number}) ->
    Number.

%% Changes the last bit of what is forwarded next in that direction. Once.
-spec flip(flipper(), to_server | to_client) -> ok.
flip({Pid, _}, Direction) ->
    Pid ! {flip, self(), Direction},
    receive {Pid, ok} -> ok end.

-spec stop_flipper(flipper()) -> ok.
stop_flipper({Pid, _}) ->
    true = unlink(Pid),
    exit(Pid, kill),
    ok.

accept(Listening, Flipper) ->
    {ok, Socket} = gen_tcp:accept(Listening),
    ok = gen_tcp:controlling_process(Socket, Flipper),
    Flipper ! {accepted, Socket},
    accept(Listening, Flipper).

forward(#{peers := Peers, flip := Flip} = State) ->
    receive
        {accepted, Client} ->
            {ok, Server} = gen_tcp:connect({127, 0, 0, 1}, maps:get(target, State), [binary]),
            ok = inet:setopts(Client, [{active, true}]),
            forward(State#{peers := Peers#{Client => {to_server, Server},
                                           Server => {to_client, Client}}});
        {flip, From, Direction} ->
            From ! {self(), ok},
            forward(State#{flip := Direction});
        {tcp, From, Data} when is_map_key(From, Peers) ->
            case maps:get(From, Peers) of
                {Flip, To} ->
                    _ = gen_tcp:send(To, last_bit_changed(Data)),
                    forward(State#{flip := none});
                {_, To} ->
                    _ = gen_tcp:send(To, Data),
                    forward(State)
            end;
        {tcp_closed, From} when is_map_key(From, Peers) ->
            {_, To} = maps:get(From, Peers),
            ok = gen_tcp:close(To),
            forward(State#{peers := maps:without([From, To], Peers)});
        _OfAClosedPair ->
            forward(State)
    end.

last_bit_changed(Data) ->
    Size = byte_size(Data) - 1,
    <<Start:Size/binary, Last>> = Data,
    <<Start/binary, (Last bxor 1)>>.
