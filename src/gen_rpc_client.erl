%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Client: owns the port of one outgoing connection. It finds out where the node is, connects, tells
%% those who wait, writes batches when the driver asks, and says goodbye. No call passes through it.
%%
%% If it can't connect it stays, as long as somebody wants the node now and then, and tries again after
%% pauses that get longer. Until that succeeds the registry says that the node is unreachable, so nobody
%% waits for these attempts.
-module(gen_rpc_client).

-behaviour(gen_server).

-export([start_link/1, await/2, try_now/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2, format_status/1]).

%% How long a client waits for the caller that it was started for, ms. Long enough for any live one.
-define(UNUSED, 5000).

%% How long it goes on trying after somebody has wanted the node, ms. Whoever wants it later waits for an
%% attempt of his own, and that is not often then.
-define(FORGET, 60000).

-record(state, {dest :: gen_rpc:dest(),
                settings = 0 :: gen_rpc_config:generation(), % those of this attempt
                phase = new :: new | asking | connecting | up | closing | pausing,
                source :: gen_rpc_foreign:t() | undefined, % while it is asked
                driver = tcp :: gen_rpc_config:driver(), % known when it connects
                port :: port() | undefined,
                targets = [] :: [gen_rpc_target:target()], % not yet tried
                host = "" :: gen_rpc_external_source:host(), % of the one that is tried
                number = 0 :: inet:port_number(), % likewise
                families = [] :: [inet | inet6], % not yet resolved
                addresses = [] :: [inet:ip_address()], % not yet tried
                address :: address() | undefined, % tried last
                failure = {nxdomain, undefined} :: failure(), % until now
                waiting = [] :: [gen_server:from()],
                absent :: absent() | undefined}). % since an attempt failed, until one succeeds

%% What is known of a node that can't be reached.
-type absent() :: #{reason := reason(), % as logged
                    settings := gen_rpc_config:generation(), % those that it was tried with
                    backoff := gen_rpc_backoff:t(),
                    pause := reference() | undefined, % timer; while it runs
                    demand := gen_rpc_registry:demand(),
                    wanted := integer()}. % the last time, ms

-type address() :: {inet:ip_address(), inet:port_number()}.
-type reason() :: gen_rpc_port:reason() | {external_source_error, term()}.
-type failure() :: {reason(), address() | undefined}.
-type state() :: #state{}.

-spec start_link(gen_rpc:dest()) -> gen_server:start_ret().
start_link(Dest) ->
    gen_server:start_link(?MODULE, Dest, []).

%% Waits until the connection is up. The first to wait sets the client to work, so whoever caused the
%% attempt hears how it ended; nobody waits for a later one. `gone': it has been up, or says goodbye; ask
%% the dispatcher again.
-spec await(pid(), timeout()) -> {ok, port()} | {error, reason()} | gone | timeout.
await(Client, Timeout) ->
    try
        gen_server:call(Client, await, Timeout)
    catch
        exit:{timeout, _} -> timeout;
        exit:_ -> gone
    end.

%% There is reason to believe that it can be reached by now: so whoever wants it waits again.
-spec try_now(pid()) -> ok.
try_now(Client) ->
    gen_server:cast(Client, try_now).

-spec init(gen_rpc:dest()) -> {ok, state(), timeout()}.
init(Dest) ->
    _ = process_flag(trap_exit, true),
    {ok, #state{dest = Dest}, ?UNUSED}.

-spec handle_call(term(), gen_server:from(), state()) ->
          {reply, term(), state()} | {noreply, state()} | {stop, normal, state()}.
handle_call(await, From, #state{phase = new} = State) ->
    find(State#state{waiting = [From]});
handle_call(await, _From, #state{phase = up, port = Port} = State) ->
    {reply, {ok, Port}, State};
handle_call(await, _From, #state{phase = closing} = State) ->
    {reply, gone, State};
handle_call(await, From, #state{absent = #{reason := Reason, settings := Settings}} = State) ->
    case gen_rpc_config:generation() of
        Settings -> {reply, {error, Reason}, State};
        _Changed -> start_anew(State#state{waiting = [From]})
    end;
handle_call(await, From, #state{waiting = Waiting} = State) ->
    {noreply, State#state{waiting = [From | Waiting]}};
handle_call(_Request, _From, State) ->
    gen_rpc_log:stray(call),
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), state()) -> {noreply, state()} | {stop, normal, state()}.
handle_cast(try_now, #state{absent = undefined} = State) ->
    {noreply, State};
handle_cast(try_now, State) ->
    start_anew(State);
handle_cast(_Request, State) ->
    gen_rpc_log:stray(cast),
    {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()} | {stop, normal, state()}.
handle_info(Message, #state{phase = asking, source = Source} = State) ->
    case gen_rpc_foreign:result(Message, Source) of
        none -> other_info(Message, State);
        Result -> answered(Result, State#state{source = undefined})
    end;
handle_info({Port, flush}, #state{port = Port} = State) ->
    ok = gen_rpc_port:flush(Port),
    {noreply, State};
handle_info({Port, up, _Peer, _Limit}, #state{port = Port, phase = connecting} = State) ->
    ok = gen_rpc_registry:up(State#state.dest, self(), Port),
    tell(State, {ok, Port}),
    returned(State),
    {noreply, State#state{phase = up, targets = [], families = [], addresses = [], waiting = [],
                          absent = undefined}};
handle_info({Port, down, Reason}, #state{port = Port} = State) ->
    down(State, Reason);
handle_info({Port, idle}, #state{port = Port, phase = up} = State) ->
    close_if_idle(State);
handle_info({Port, idle}, #state{port = Port} = State) ->
    {noreply, State};
handle_info({Port, bye}, #state{port = Port} = State) ->
    ok = gen_rpc_registry:remove(State#state.dest, self()),
    {noreply, State#state{phase = closing}};
handle_info({'EXIT', Port, _Reason}, #state{port = Port} = State) ->
    {stop, normal, lost(State#state{port = undefined}, port_closed)};
handle_info(timeout, #state{phase = new} = State) ->
    {stop, normal, State};
handle_info({timeout, Pause, pause}, #state{absent = #{pause := Pause} = Absent} = State) ->
    find(fresh(State#state{absent = Absent#{pause := undefined}}));
handle_info(Message, State) ->
    other_info(Message, State).

other_info({'EXIT', Other, _Reason}, State) when is_port(Other) ->
    {noreply, State};
other_info({timeout, _Before, pause}, State) ->
    {noreply, State};
other_info(Message, State) when is_port(element(1, Message)) ->
    %% Of an attempt that was broken off.
    {noreply, State};
other_info(_Message, State) ->
    gen_rpc_log:stray(message),
    {noreply, State}.

-spec terminate(term(), state()) -> ok.
terminate(_Reason, State) ->
    ok = gen_rpc_registry:remove(State#state.dest, self()),
    tell(State, gone),
    _ = State#state.source =:= undefined orelse gen_rpc_foreign:stop(State#state.source),
    case State#state.port of
        undefined ->
            ok;
        Port ->
            _ = gen_rpc_port:goodbye(Port, infinity, always),
            closed(Port)
    end.

%% A key is the user's own data, and no log's business.
-spec format_status(gen_server:format_status()) -> gen_server:format_status().
format_status(#{state := #state{dest = {Node, _Key}} = State} = Status) ->
    Status#{state := State#state{dest = {Node, hidden}}};
format_status(Status) ->
    Status.

%%% Connecting

find(#state{dest = Dest} = State0) ->
    Node = gen_rpc_dest:node(Dest),
    State = State0#state{settings = gen_rpc_config:generation()},
    case gen_rpc_target:find(Node) of
        {ok, Targets} -> connect(State, Targets);
        {ask, {M, F}} -> ask(State, {M, F, [Node]});
        {error, Reason} -> give_up(State, Reason)
    end.

ask(State, Function) ->
    case gen_rpc_foreign:start(Function, gen_rpc_config:get(connect_timeout)) of
        {ok, Source} -> {noreply, State#state{phase = asking, source = Source}};
        {error, Reason} -> give_up(State, Reason)
    end.

answered({ok, Answer}, #state{dest = Dest} = State) ->
    case gen_rpc_target:answered(gen_rpc_dest:node(Dest), Answer) of
        {ok, Targets} -> connect(State, Targets);
        {error, Reason} -> give_up(State, Reason)
    end;
answered({error, Reason}, State) ->
    give_up(State, {external_source_error, Reason}).

connect(State, Targets) ->
    try_next(State#state{phase = connecting, targets = Targets}).

%% A target's second family is not asked for before the first one has failed: that may take long.
try_next(#state{addresses = [], families = [], targets = []} = State) ->
    give_up(State);
try_next(#state{addresses = [], families = [], targets = [{Driver, Host, Number} | Rest]} = State) ->
    try_next(State#state{driver = Driver, host = Host, number = Number, targets = Rest,
                         families = gen_rpc_address:families(Host)});
try_next(#state{addresses = [], families = [Family | Rest], host = Host} = State0) ->
    State = State0#state{families = Rest, address = undefined},
    case gen_rpc_address:resolve(Host, Family) of
        {ok, Addresses} -> try_next(State#state{addresses = Addresses});
        {error, Reason} -> try_next(failed(State, Reason))
    end;
try_next(#state{addresses = [Ip | Rest], number = Number} = State0) ->
    Address = {Ip, Number},
    State = State0#state{addresses = Rest, address = Address},
    case gen_rpc_config:connection(client) of
        none ->
            give_up(State, no_cookie);
        {ok, Connection} ->
            case connecting(Address, Connection, State) of
                {ok, Port} -> {noreply, State#state{port = Port}};
                {error, Reason} -> try_next(failed(State, Reason))
            end
    end.

connecting(Address, Connection, #state{driver = Driver, dest = Dest}) ->
    case gen_rpc_port:try_open() of
        {ok, Port} ->
            Timeout = gen_rpc_config:get(connect_timeout),
            Whom = whom(Driver, gen_rpc_dest:node(Dest)),
            case gen_rpc_port:connect(Port, Address, Timeout, maps:merge(Connection, Whom)) of
                ok ->
                    {ok, Port};
                {error, Reason} ->
                    ok = gen_rpc_port:close(Port),
                    {error, Reason}
            end;
        {error, Reason} ->
            {error, Reason}
    end.

%% The node that is meant, and with TLS what that takes.
whom(tcp, Node) -> #{target => atom_to_binary(Node)};
whom(ssl, Node) -> maps:merge(whom(tcp, Node), gen_rpc_tls:client(Node)).

%% Of several failures the one that says most is told, and of equal ones the first.
failed(#state{failure = {Before, _}, address = Address} = State, Reason) ->
    case weight(Reason) > weight(Before) of
        true -> State#state{failure = {Reason, Address}};
        false -> State
    end.

%% Whoever has answered is perhaps the node that was meant.
weight(nxdomain) -> 0;
weight(invalid_cookie) -> 2;
weight(wrong_node) -> 2;
weight({tls, _}) -> 2;
weight(_Unreachable) -> 1.

%% Something on this side, or what a source has said, which is asked again by whoever comes next.
give_up(#state{absent = undefined} = State, Reason) ->
    end_of_attempt(State#state{failure = {Reason, undefined}}, stop);
give_up(State, Reason) ->
    give_up(State#state{failure = {Reason, undefined}}).

%% Nobody who is the node that was meant.
give_up(State) ->
    end_of_attempt(State, case gen_rpc_config:get(reconnect_backoff_max) of
                              0 -> stop;
                              Max -> {pause, Max}
                          end).

end_of_attempt(#state{dest = Dest, failure = {Reason, _}, absent = Absent} = State, Next) ->
    _ = is_news(Reason, Absent) andalso log_failure(State),
    ok = gen_rpc_source_cache:forget(gen_rpc_dest:node(Dest)),
    case Next of
        stop ->
            %% Out of the registry first: who hears of the failure and calls again gets a new attempt.
            ok = gen_rpc_registry:remove(Dest, self()),
            tell(State, {error, Reason}),
            {stop, normal, State#state{waiting = []}};
        {pause, Max} ->
            pause(State, Max)
    end.

%% Attempts that fail as the one before are not worth a line.
is_news(_Reason, undefined) -> true;
is_news(Reason, #{reason := Before}) -> Reason =/= Before.

log_failure(#state{dest = Dest, failure = {Reason, Address}}) ->
    Node = gen_rpc_dest:node(Dest),
    Report = gen_rpc_log:reason(Reason, #{what => "cannot connect", node => Node}),
    gen_rpc_log:warning(maps:merge(Report, where(Address))).

where(undefined) -> #{};
where({Ip, Number}) -> #{address => inet:ntoa(Ip), port => Number}.

tell(#state{waiting = Waiting}, Message) ->
    lists:foreach(fun(From) -> gen_server:reply(From, Message) end, Waiting).

%%% Trying again

pause(#state{dest = Dest, settings = Settings, failure = {Reason, _}} = State, Max) ->
    Now = erlang:monotonic_time(millisecond),
    Absent0 = absent(State, Max, Now),
    Demand = maps:get(demand, Absent0),
    Wanted = case gen_rpc_registry:was_wanted(Demand) of
                 true -> Now;
                 false -> maps:get(wanted, Absent0)
             end,
    case Now - Wanted < ?FORGET of
        true ->
            ok = gen_rpc_registry:unreachable(Dest, self(), {Reason, Settings}, Demand),
            tell(State, {error, Reason}),
            {Pause, Backoff} = gen_rpc_backoff:next(maps:get(backoff, Absent0)),
            Absent = Absent0#{reason := Reason, settings := Settings, backoff := Backoff,
                              pause := erlang:start_timer(Pause, self(), pause), wanted := Wanted},
            {noreply, State#state{phase = pausing, waiting = [], absent = Absent}};
        false ->
            {stop, normal, State}
    end.

absent(#state{absent = undefined, settings = Settings, failure = {Reason, _}}, Max, Now) ->
    #{reason => Reason, settings => Settings, backoff => gen_rpc_backoff:new(Max),
      pause => undefined, demand => gen_rpc_registry:demand(), wanted => Now};
absent(#state{absent = Absent}, _Max, _Now) ->
    Absent.

%% As a client that has just been started, but for those who wait already.
start_anew(#state{dest = Dest, port = Port} = State0) ->
    _ = Port =:= undefined orelse gen_rpc_port:close(Port),
    _ = State0#state.source =:= undefined orelse gen_rpc_foreign:stop(State0#state.source),
    ok = gen_rpc_registry:add(Dest, self()),
    State = fresh(State0),
    find(State#state{absent = undefined}).

fresh(State) ->
    State#state{phase = new, source = undefined, port = undefined, targets = [], families = [],
                addresses = [], address = undefined, failure = {nxdomain, undefined}}.

returned(#state{absent = undefined}) ->
    ok;
returned(#state{dest = Dest}) ->
    gen_rpc_log:notice(#{what => "connected again", node => gen_rpc_dest:node(Dest)}).

%%% Closing

down(#state{phase = connecting, port = Port} = State, Reason) ->
    ok = gen_rpc_port:close(Port),
    try_next(failed(State#state{port = undefined}, Reason));
down(#state{port = Port} = State0, Reason) ->
    State = lost(State0, Reason),
    ok = gen_rpc_port:drain(Port),
    ok = closed(Port),
    {stop, normal, State#state{port = undefined}}.

closed(Port) ->
    ok = gen_rpc_counters:close(Port),
    gen_rpc_code:forget(Port).

lost(State, normal) ->
    State;
lost(State, Reason) ->
    ok = gen_rpc_registry:remove(State#state.dest, self()),
    gen_rpc_log:notice(gen_rpc_log:reason(Reason, #{what => "connection lost",
                                                    node => gen_rpc_dest:node(State#state.dest)})),
    State.

%% First out of the registry, then the question: a caller that found the port before gets its call
%% in, and then the connection is not idle; one that comes later makes a new connection.
close_if_idle(#state{dest = Dest, port = Port} = State) ->
    ok = gen_rpc_registry:remove(Dest, self()),
    case gen_rpc_port:goodbye(Port, gen_rpc_config:get(send_timeout), only_idle) of
        busy ->
            ok = gen_rpc_registry:up(Dest, self(), Port),
            {noreply, State};
        _ ->
            {noreply, State#state{phase = closing}}
    end.
