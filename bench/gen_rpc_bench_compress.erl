%% SPDX-License-Identifier: Apache-2.0
%% Terms as applications send them, over connections that compress and over one that does not. All
%% are connections of the same two nodes: their settings are those that were in force when they were
%% made.
-module(gen_rpc_bench_compress).

-export([available/0, run/4, configure/1]).

-type variant() :: plain | {level, 1..9} | {context, 1..9}.
-type what() :: message  % one record, always another one, 16 callers
              | terms.   % a list of records, 20 MB, one caller
-type figures() :: #{rate := float(), % messages a second; terms: MB a second
                     wire := float(), % bytes of one message
                     cpu := float()}. % us of both nodes for a message; terms: for a MB
-export_type([variant/0, what/0]).

-define(TARGET, gen_rpc_bench_target).
-define(TIMEOUT, 15000).
-define(RECORDS, 10000).
-define(BYTES, 20000000).

%% Below the size of one record, so that all messages are compressed.
-define(THRESHOLD, 64).

%% Whether this gen_rpc compresses. In a VM where it does not run.
-spec available() -> boolean().
available() ->
    lists:all(fun(Variant) -> gen_rpc_config:load(env(Variant)) =:= ok
                                  andalso gen_rpc_config:unload() =:= ok
              end, [{level, 1}, {context, 1}]).

-spec run(variant(), node(), what(), Ms :: pos_integer()) -> figures().
run(Variant, Server, What, Ms) ->
    {Dest, Port} = connection(Variant, Server),
    {Calls, Expected, MB} = calls(What, Dest),
    #{bytes_out := Before} = gen_rpc_port:info(Port),
    {Cpu, {Seconds, Samples}} =
        gen_rpc_bench_load:with_cpu([Server],
                                    fun() -> gen_rpc_bench_loop:closed(Calls, Ms, Expected) end),
    #{bytes_out := After} = gen_rpc_port:info(Port),
    Count = length(Samples),
    #{rate => Count * MB / Seconds, wire => (After - Before) / Count, cpu => Cpu / (Count * MB)}.

calls(message, Dest) ->
    Records = records(),
    Call = fun() ->
                   Record = element(rand:uniform(?RECORDS), Records),
                   records(Dest, [Record]) =:= ?TARGET:records([Record])
           end,
    {lists:duplicate(16, Call), true, 1};
calls(terms, Dest) ->
    Terms = kept(terms, fun() -> terms(tuple_to_list(records())) end),
    {[fun() -> records(Dest, Terms) end], ?TARGET:records(Terms),
     erlang:external_size(Terms) / 1.0e6}.

records(Dest, Records) ->
    gen_rpc:call(Dest, ?TARGET, records, [Records], ?TIMEOUT).

%% The connection with these settings on both sides.
connection(Variant, Server) ->
    Dest = {Server, {?MODULE, Variant}},
    case gen_rpc_registry:lookup(Dest) of
        {ok, Port} ->
            {Dest, Port};
        none ->
            ok = configure(Variant),
            ok = erpc:call(Server, ?MODULE, configure, [Variant]),
            Variant = gen_rpc:call(Dest, ?TARGET, echo, [Variant], ?TIMEOUT),
            ok = erpc:call(Server, ?MODULE, configure, [plain]),
            ok = configure(plain),
            {ok, Port} = gen_rpc_registry:lookup(Dest),
            {Dest, Port}
    end.

%% From now on new connections of this node are made so.
-spec configure(variant()) -> ok.
configure(Variant) ->
    gen_rpc_config:load(application:get_all_env(gen_rpc) ++ env(Variant)).

env(plain) -> [];
env({level, Level}) -> [{compress, Level}, {compression_threshold, ?THRESHOLD}];
env({context, Level}) -> [{compress_context, true} | env({level, Level})].

%%% Records as a broker of messages has them, of some 400 bytes: some fields are much the same in
%%% all, some never are. They are kept where no process has to copy them.

terms(Records) ->
    Count = ?BYTES * ?RECORDS div erlang:external_size(Records),
    Again = lists:duplicate(Count div ?RECORDS + 1, Records),
    lists:sublist(lists:append(Again), Count).

records() ->
    kept(records, fun() ->
                          _ = rand:seed(exsss, 4),
                          list_to_tuple([record(N) || N <- lists:seq(1, ?RECORDS)])
                  end).

record(N) ->
    Device = format("sensor-~6..0b", [rand:uniform(5000)]),
    #{id => rand:bytes(16),
      from => Device,
      topic => format("site/~b/building/~b/~s/telemetry",
                      [rand:uniform(9), rand:uniform(40), Device]),
      qos => rand:uniform(3) - 1,
      flags => #{retain => rand:uniform(20) =:= 1, dup => false},
      timestamp => 1735689600000 + N * 37 + rand:uniform(30),
      headers => #{username => format("tenant-~b", [rand:uniform(50)]),
                   peerhost => {10, rand:uniform(4), rand:uniform(255), rand:uniform(255)},
                   protocol => mqtt,
                   properties => #{'Content-Type' => <<"application/json">>}},
      payload => format("{\"temperature\":~.2f,\"humidity\":~.1f,\"battery\":~b,\"state\":\"~s\","
                        "\"firmware\":\"3.~b.~b\"}",
                        [15 + 10 * rand:uniform(), 100 * rand:uniform(), rand:uniform(100),
                         lists:nth(rand:uniform(3), ["ok", "calibrating", "low battery"]),
                         rand:uniform(4), rand:uniform(9)])}.

format(Format, Args) ->
    iolist_to_binary(io_lib:format(Format, Args)).

kept(Name, Make) ->
    Key = {?MODULE, Name},
    case persistent_term:get(Key, none) of
        none -> Term = Make(), persistent_term:put(Key, Term), Term;
        Term -> Term
    end.
