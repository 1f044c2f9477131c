%% SPDX-License-Identifier: Apache-2.0
%% Commands to the driver that make no sense, from its own VM: any process may command a port, so
%% they are checked like a stranger's bytes. The VM goes on, and so does another connection.
-module(gen_rpc_nonsense_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1,
         init_per_testcase/2, end_per_testcase/2]).
-export([garbage_tags/1, every_command_in_every_state/1, damaged_commands/1,
         settings_out_of_bounds/1]).

-import(gen_rpc_test_node, [run/2, wait/1]).
-import(gen_rpc_test_ports, [settings/0, listen/1, make_pair/2, make_tls_pair/2, tls/1,
                             tls_options/2, close/1, tag/1, next/0,
                             down/1, forget_messages/0, round_trip/3]).

-define(LOOPBACK, {127, 0, 0, 1}).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

%% The seed makes every run send the same.
-define(SEED, {1, 2, 3}).

%% The numbers of the commands, for those who send nonsense.
-define(CONNECT, 1).
-define(LISTEN, 2).
-define(HANDSHAKE, 3).
-define(ACTIVATE, 4).
-define(CALL, 5).
-define(CAST, 6).
-define(REPLY, 7).
-define(ADMIT, 8).
-define(FLUSH, 9).
-define(CREDIT, 10).
-define(CANCEL, 11).
-define(CLOSE, 12).
-define(DRAIN, 13).
-define(INFO, 14).
-define(TLS_LOAD, 15).
-define(ORDERED, 16).
-define(BROADCAST, 17).
-define(ASK, 18).
-define(ENDED, 19).
-define(TAKEN, 20).
-define(CALL_FOR, 21).
-define(RECEIVE, 22).

%% Those that submit a message.
-define(SUBMISSIONS, [?CALL, ?CAST, ?REPLY, ?ORDERED, ?BROADCAST, ?ASK, ?CALL_FOR]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [garbage_tags, every_command_in_every_state, damaged_commands, settings_out_of_bounds].

%% The node is another one than the test's: if the driver brings it down, only a test fails.
init_per_suite(Config) ->
    Node = gen_rpc_test_node:keep(gen_rpc_test_node:start([{tcp_server_port, false}])),
    ok = gen_rpc_test_ports:load_tls(Node, proplists:get_value(priv_dir, Config)),
    [{node, Node} | Config].

end_per_suite(Config) ->
    gen_rpc_test_node:stop(proplists:get_value(node, Config)).

init_per_testcase(_Case, Config) ->
    Node = proplists:get_value(node, Config),
    [{before, gen_rpc_test_node:resources(Node)} | Config].

end_per_testcase(_Case, Config) ->
    Node = proplists:get_value(node, Config),
    Before = proplists:get_value(before, Config),
    gen_rpc_test_node:expect_resources(Node, Before).

%% Runs a case on the node, in one process that owns all its ports.
on_node(Config, Case) ->
    run(proplists:get_value(node, Config), Case).

%% A tag that is no external term is answered to nobody, whatever there is to tell.
garbage_tags(Config) ->
    on_node(
      Config,
      fun() ->
              rand:seed(exsss, ?SEED),
              {Listener, Client, Server} = make_pair(#{output_limit => 1000}, #{}),
              ok = gen_rpc_port:activate(Server),
              Tags = garbage(),
              Ids = lists:seq(1, length(Tags)),
              [begin
                   [submit(Submit, Client, Id, Tag) || {Id, Tag} <- lists:zip(Ids, Tags)],
                   ok = serve_all(Client, Server),
                   ?assertEqual(<<"x">>, round_trip(Client, Server, <<"x">>))
               end || Submit <- [fun gen_rpc_port:call/5, fun gen_rpc_port:ask/5]],
              %% The same for those who wait for room, and are told that there is some.
              [begin
                   ok = fill(Client, 1),
                   [busy = gen_rpc_port:cast(Client, Id, infinity, Tag, [<<"x">>])
                    || {Id, Tag} <- lists:zip(Ids, Tags), Tag =/= <<>>],
                   ?assertMatch(#{waiting := Waiting} when Waiting =:= length(Tags) - 1,
                                                           gen_rpc_port:info(Client)),
                   ok = serve_all(Client, Server),
                   ?assertEqual(<<"x">>, round_trip(Client, Server, <<"x">>))
               end || _ <- [1, 2]],
              %% The same when there is an error to tell.
              [submit(fun gen_rpc_port:call/5, Client, Id, Tag)
               || {Id, Tag} <- lists:zip(Ids, Tags)],
              close([Client, Server, Listener]),
              ok = forget_messages()
      end).

garbage() ->
    Whole = tag({make_ref(), lists:seq(1, 1000)}),
    [<<>>, <<131>>, <<"garbage">>, <<131, 255>>, <<0:8000>>, Whole,
     <<131, 80, 0, 0, 1, 0, "no zlib">>, % compressed, and not
     <<131, 108, 255, 255, 255, 255>>,   % a list of four billion
     <<131, 109, 255, 255, 255, 255>>    % a binary likewise
    | [binary:part(Whole, 0, rand:uniform(byte_size(Whole))) || _ <- lists:seq(1, 100)]].

%% Room is made if there is none.
submit(Submit, Client, Id, Tag) ->
    case Submit(Client, Id, infinity, Tag, [<<"x">>]) of
        ok -> ok;
        busy -> ok = gen_rpc_port:flush(Client), submit(Submit, Client, Id, Tag)
    end.

%% Until there is no room. Nothing is written meanwhile.
fill(Client, N) ->
    case gen_rpc_port:cast(Client, N, infinity, <<>>, [<<"x">>]) of
        ok -> fill(Client, N + 1);
        busy -> ok
    end.

%% Answers all that was sent, until nobody waits for anything and nothing is under way.
serve_all(Client, Server) ->
    wait(fun() ->
                 ok = gen_rpc_port:flush(Client),
                 ok = answer(Server),
                 ok = gen_rpc_port:flush(Server),
                 #{calls := Calls, waiting := Waiting, frames_out := Out} =
                     gen_rpc_port:info(Client),
                 #{held := Held, frames_in := In} = gen_rpc_port:info(Server),
                 {Calls, Waiting, Held} =:= {0, 0, 0} andalso Out =:= In
         end),
    ok = answer(Server),
    forget_messages().

answer(Server) ->
    receive
        {Server, requests, Requests} ->
            [answer(Server, Request) || Request <- Requests],
            ok = gen_rpc_port:credit(Server),
            answer(Server)
    after 0 ->
        ok
    end.

answer(Server, {Id, Body, _Order}) ->
    ok = gen_rpc_port:taken(Server, 1, byte_size(Body)),
    answer(Server, {Id, Body});
answer(_Server, {0, _Body}) ->
    ok;
answer(Server, {Id, Body}) ->
    ok = gen_rpc_port:reply(Server, Id, tag(make_ref()), [Body]).

%% Every command number there can be, with nothing, with too much and with noise, on a port in every
%% state that there is.
every_command_in_every_state(Config) ->
    nonsense(Config, fun(State) ->
                             [{Command, Data} || Command <- lists:seq(0, 255),
                                                 Data <- [<<>>, noise(100), noise(2000)]]
                                 ++ [{State, noise(100000)}]
                     end).

%% Commands that are nearly right: cut, made longer, or with a byte changed.
damaged_commands(Config) ->
    nonsense(Config, fun(_State) ->
                             [{Command, damage(Whole)} || {Command, Whole} <- whole_commands(),
                                                          _ <- lists:seq(1, 20)]
                     end).

%% Settings that no configuration has end the connection that is to have them, and nothing else.
settings_out_of_bounds(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Number} = listen(10),
              [begin
                   Settings = (settings())#{target => <<"server">>},
                   Client = gen_rpc_port:open(),
                   ok = gen_rpc_port:connect(Client, {?LOOPBACK, Number}, ?LONG,
                                             case Side of
                                                 client -> maps:merge(Settings, Wrong);
                                                 server -> Settings
                                             end),
                   Server = receive {Listener, accepted, Child, _} -> Child end,
                   _ = Side =:= server andalso
                       gen_rpc_port:handshake(Server, maps:merge(Settings, Wrong)),
                   _ = down(case Side of client -> Client; server -> Server end),
                   close([Client, Server]),
                   ok = forget_messages()
               end || Wrong <- [#{compress => 10}, #{compress => 255},
                                #{max_message_size => 16#100000000},
                                #{max_message_size => 16#FFFFFFFFFFFFFFFF}],
                      Side <- [client, server]],
              close([Listener])
      end).

nonsense(Config, Commands) ->
    on_node(
      Config,
      fun() ->
              rand:seed(exsss, ?SEED),
              Memory = gen_rpc_test_node:local_driver_memory(),
              {Listener, Client, Server} = make_pair(#{}, #{}),
              ok = gen_rpc_port:activate(Server),
              [begin
                   ok = send_all(State, Commands(State)),
                   ?assertEqual({State, <<"x">>}, {State, round_trip(Client, Server, <<"x">>)})
               end || State <- [new, listening, connecting, accepted, authenticating,
                                client, server, closing, down, loaded, securing_client,
                                securing_server, tls_client, tls_server]],
              close([Client, Server, Listener]),
              wait(fun() -> gen_rpc_test_node:local_driver_memory() < Memory + 100000 end)
      end).

%% The ports of a state live in a process of their own, so that their messages do no harm.
send_all(State, Commands) ->
    Seed = rand:export_seed(),
    Task = gen_rpc_test_task:start(fun() ->
                                           _ = rand:seed(Seed),
                                           send_each(State, make(State), Commands)
                                   end),
    gen_rpc_test_task:result(Task).

send_each(_State, Ports, []) ->
    close(Ports),
    forget_messages();
send_each(State, [Port | _] = Ports, [{Command, Data} | Rest]) ->
    try port_control(Port, as_number(Command), harmless(Command, Data)) of
        Result when is_list(Result) -> ok
    catch
        error:badarg -> ok
    end,
    try port_command(Port, [as_number(Command) | Data]) of
        true -> ok
    catch
        error:badarg -> ok
    end,
    ok = forget_messages(),
    case is_in(State, Port) of
        true ->
            send_each(State, Ports, Rest);
        false ->
            close(Ports),
            ok = forget_messages(),
            send_each(State, make(State), Rest)
    end.

as_number(Command) when is_integer(Command) -> Command;
as_number(_State) -> ?CALL.

%% Of all the nonsense only the address of another machine could do harm.
harmless(Command, <<4, Port:2/binary, _:4/binary, Rest/binary>>)
  when Command =:= ?CONNECT; Command =:= ?LISTEN ->
    <<4, Port/binary, 127, 0, 0, 1, Rest/binary>>;
harmless(Command, <<6, Port:2/binary, _:16/binary, Rest/binary>>)
  when Command =:= ?CONNECT; Command =:= ?LISTEN ->
    <<6, Port/binary, 1:128, Rest/binary>>;
harmless(_Command, Data) ->
    Data.

%% A port in this state, and the others that keep it there.
make(new) ->
    [gen_rpc_port:open()];
make(listening) ->
    {Listener, _} = listen(10),
    [Listener];
make(connecting) ->
    {Hole, Number} = gen_rpc_test_hole:deep(),
    Port = gen_rpc_port:open(),
    ok = gen_rpc_port:connect(Port, {?LOOPBACK, Number}, ?LONG,
                              (settings())#{target => <<"server">>}),
    [Port | Hole];
make(accepted) ->
    {Listener, Number} = listen(10),
    Client = gen_rpc_port:open(),
    ok = gen_rpc_port:connect(Client, {?LOOPBACK, Number}, ?LONG,
                              (settings())#{target => <<"server">>}),
    {Listener, accepted, Server, _} = next(),
    [Server, Client, Listener];
make(authenticating) ->
    [Server, Client, Listener] = make(accepted),
    wait(fun() -> maps:get(state, gen_rpc_port:info(Client)) =:= open end),
    [Client, Server, Listener];
make(client) ->
    {Listener, Client, Server} = make_pair(#{}, #{}),
    [Client, Server, Listener];
make(server) ->
    {Listener, Client, Server} = make_pair(#{}, #{}),
    [Server, Client, Listener];
make(closing) ->
    {Listener, Client, Server} = make_pair(#{}, #{}),
    ok = gen_rpc_port:call(Client, 1, infinity, tag(make_ref()), [<<>>]),
    ok = gen_rpc_port:goodbye(Client, ?LONG, always),
    [Client, Server, Listener];
make(loaded) ->
    Port = gen_rpc_port:open(),
    {ok, _, _} = gen_rpc_port:load_tls(Port, tls_options(server, #{})),
    [Port];
make(securing_client) ->
    {Silent, Number} = silence(),
    Port = gen_rpc_port:open(),
    ok = gen_rpc_port:connect(Port, {?LOOPBACK, Number}, ?LONG,
                              maps:merge((settings())#{target => <<"server">>}, tls(client))),
    wait(fun() -> is_in(securing_client, Port) end),
    [Port, Silent];
make(securing_server) ->
    {Listener, Number} = listen(10),
    {ok, Silent} = gen_tcp:connect(?LOOPBACK, Number, []),
    {Listener, accepted, Server, _} = next(),
    ok = gen_rpc_port:handshake(Server, maps:merge(settings(), tls(server))),
    [Server, Silent, Listener];
make(tls_client) ->
    {Listener, Client, Server} = make_tls_pair(#{}, #{}),
    [Client, Server, Listener];
make(tls_server) ->
    {Listener, Client, Server} = make_tls_pair(#{}, #{}),
    [Server, Client, Listener];
make(down) ->
    [Port | Ports] = make(client),
    close(Ports),
    _ = down(Port),
    [Port].

is_in(new, Port) ->
    erlang:port_info(Port) =/= undefined andalso gen_rpc_port:info(Port) =:= undefined;
is_in(State, Port) when State =:= listening; State =:= loaded ->
    erlang:port_info(Port) =/= undefined;
is_in(State, Port) ->
    case {State, gen_rpc_port:info(Port)} of
        {_, undefined} -> false;
        {connecting, #{state := Now}} -> Now =:= connecting;
        {securing_client, #{state := Now}} -> Now =:= securing;
        {securing_server, #{state := Now}} -> Now =:= securing;
        {accepted, #{state := Now}} -> Now =:= accepted;
        {down, #{state := Now}} -> Now =:= down;
        {_, #{state := Now, output := Output}} -> Now =:= open andalso Output < 1000000
    end.

%% One who listens, and lets nobody in.
silence() ->
    {ok, Silent} = gen_tcp:listen(0, [{ip, ?LOOPBACK}]),
    {ok, Number} = inet:port(Silent),
    {Silent, Number}.

%% Each command as it should be.
whole_commands() ->
    Common = <<?LONG:32, ?LONG:32, ?LONG:32, ?LONG:32, 100000:64, 100000:64, 10:32, 1, 6, 1,
               1000:32, 5:32, 6:32, 7:32, 4:16, "name", 6:16, "target", 6:16, "cookie">>,
    #{tls := Number} = tls(server),
    Plain = <<Common/binary, 0:64, 0:16>>,
    Secure = <<Common/binary, Number:64, 11:16, "server.name">>,
    #{certfile := Cert, keyfile := Key, cacertfile := Ca} = tls_options(server, #{}),
    Load = <<1, 1, 1, 1, 8, 0, 0, 6:16, "server", (byte_size(Cert)):32, Cert/binary,
             (byte_size(Key)):32, Key/binary, 0:32, (byte_size(Ca)):32, Ca/binary, 0:96>>,
    Tag = tag(make_ref()),
    Head = <<1:64, ?LONG:32, (byte_size(Tag)):16, Tag/binary>>,
    Address = <<4, 1:16, 127, 0, 0, 1>>,
    [{?CONNECT, <<Address/binary, ?LONG:32, Plain/binary>>},
     {?CONNECT, <<Address/binary, ?LONG:32, Secure/binary>>},
     {?LISTEN, <<Address/binary, 10:32>>},
     {?HANDSHAKE, <<1:32, Plain/binary>>},
     {?HANDSHAKE, <<1:32, Secure/binary>>},
     {?ACTIVATE, <<>>},
     {?FLUSH, <<>>},
     {?CREDIT, <<>>},
     {?CANCEL, <<1:64>>},
     {?CLOSE, <<?LONG:32, 1>>},
     {?DRAIN, <<>>},
     {?INFO, <<>>},
     {?TLS_LOAD, Load},
     {?ENDED, <<1:32>>},
     {?ENDED, <<16#FFFFFFFF:32>>},
     {?TAKEN, <<1:32, 100000:64>>},
     {?TAKEN, <<16#FFFFFFFF:32, 16#FFFFFFFFFFFFFFFF:64>>}]
        ++ [{Submission, <<Head/binary, "message">>} || Submission <- ?SUBMISSIONS]
        ++ [{?ADMIT, <<Head/binary, Size:64, Then>>}
            || Size <- [100, 100000, 16#FFFFFFFFFFFFFFFF], Then <- [0, ?INFO, 255 | ?SUBMISSIONS]].

damage(Whole) ->
    case rand:uniform(4) of
        1 -> Whole;
        2 -> binary:part(Whole, 0, rand:uniform(byte_size(Whole) + 1) - 1);
        3 -> <<Whole/binary, (noise(20))/binary>>;
        4 when Whole =:= <<>> -> noise(8);
        4 ->
            At = rand:uniform(byte_size(Whole)) - 1,
            <<Before:At/binary, _, After/binary>> = Whole,
            <<Before/binary, (rand:uniform(256) - 1), After/binary>>
    end.

noise(Max) ->
    rand:bytes(rand:uniform(Max)).
