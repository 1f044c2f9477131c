%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Ordered casts to the own node: as over a connection they run one after the other for each
%% destination, in processes of their own, and whoever sends too many is told to wait.
-module(gen_rpc_local).

-behaviour(gen_server).

-export([start_link/0, ordered_cast/2, await_room/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

%% Casts of one destination that wait for their turn. Beyond that their senders do, until half of
%% them have run. A number, since to know the size of a term costs more than to send it.
-define(QUEUE_MAX, 1000).
-define(ROOM, (?QUEUE_MAX div 2)).

%% A destination with a cast that runs. It is forgotten when there is no other.
-record(lane, {queue = queue:new() :: queue:queue(gen_rpc_codec:call()),
               size = 0 :: non_neg_integer(),
               waiting = #{} :: #{reference() => gen_server:from()}}). % they want to try again

-record(state, {lanes = #{} :: #{gen_rpc:dest() => #lane{}},
                running = #{} :: #{reference() => gen_rpc:dest()}}). % monitors

-type state() :: #state{}.

-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec ordered_cast(gen_rpc:dest(), gen_rpc_codec:call()) -> ok | busy | down.
ordered_cast(Dest, Request) ->
    try
        gen_server:call(?MODULE, {ordered_cast, Dest, Request}, infinity)
    catch
        exit:_ -> down
    end.

%% After `busy'. Room that there was may be gone again.
-spec await_room(gen_rpc:dest(), timeout()) -> ok | timeout | down.
await_room(Dest, Timeout) ->
    Ref = make_ref(),
    try
        gen_server:call(?MODULE, {await_room, Dest, Ref}, Timeout)
    catch
        exit:{timeout, _} -> gen_server:cast(?MODULE, {forget, Dest, Ref}), timeout;
        exit:_ -> down
    end.

-spec init([]) -> {ok, state()}.
init([]) ->
    %% Workers inherit it. With the application's own they would pass for processes of gen_rpc.
    true = group_leader(whereis(user), self()),
    {ok, #state{}}.

-spec handle_call(term(), gen_server:from(), state()) ->
          {reply, term(), state()} | {noreply, state()}.
handle_call({ordered_cast, Dest, Request}, _From, #state{lanes = Lanes} = State) ->
    case Lanes of
        #{Dest := #lane{size = ?QUEUE_MAX}} ->
            {reply, busy, State};
        #{Dest := #lane{queue = Queue, size = Size} = Lane} ->
            Longer = Lane#lane{queue = queue:in(Request, Queue), size = Size + 1},
            {reply, ok, put_lane(Dest, Longer, State)};
        #{} ->
            {reply, ok, run(Dest, Request, #lane{}, State)}
    end;
handle_call({await_room, Dest, Ref}, From, #state{lanes = Lanes} = State) ->
    case Lanes of
        #{Dest := #lane{size = Size, waiting = Waiting} = Lane} when Size > ?ROOM ->
            {noreply, put_lane(Dest, Lane#lane{waiting = Waiting#{Ref => From}}, State)};
        #{} ->
            {reply, ok, State}
    end;
handle_call(_Request, _From, State) ->
    gen_rpc_log:stray(call),
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast({forget, Dest, Ref}, #state{lanes = Lanes} = State) ->
    case Lanes of
        #{Dest := #lane{waiting = Waiting} = Lane} ->
            {noreply, put_lane(Dest, Lane#lane{waiting = maps:remove(Ref, Waiting)}, State)};
        #{} ->
            {noreply, State}
    end;
handle_cast(_Request, State) ->
    gen_rpc_log:stray(cast),
    {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({'DOWN', Monitor, process, _Pid, _Reason}, #state{running = Running} = State)
  when is_map_key(Monitor, Running) ->
    {Dest, Rest} = maps:take(Monitor, Running),
    {noreply, next(Dest, State#state{running = Rest})};
handle_info(_Message, State) ->
    gen_rpc_log:stray(message),
    {noreply, State}.

next(Dest, #state{lanes = Lanes} = State) ->
    #{Dest := #lane{queue = Queue, size = Size} = Lane} = Lanes,
    case queue:out(Queue) of
        {{value, Request}, Rest} ->
            run(Dest, Request, wake(Lane#lane{queue = Rest, size = Size - 1}), State);
        {empty, _} ->
            State#state{lanes = maps:remove(Dest, Lanes)}
    end.

run(Dest, Call, Lane, #state{running = Running} = State) ->
    Monitor = case gen_rpc_worker:start_monitored(run_local_cast, [Call], 'DOWN') of
                  {_Pid, Of} -> Of;
                  none -> ended_at_once()
              end,
    put_lane(Dest, Lane, State#state{running = Running#{Monitor => Dest}}).

%% What a monitor would say of a worker that could not be started.
ended_at_once() ->
    ok = gen_rpc_worker:no_process(),
    Monitor = make_ref(),
    self() ! {'DOWN', Monitor, process, self(), system_limit},
    Monitor.

put_lane(Dest, Lane, #state{lanes = Lanes} = State) ->
    State#state{lanes = Lanes#{Dest => Lane}}.

wake(#lane{size = ?ROOM, waiting = Waiting} = Lane) ->
    lists:foreach(fun(From) -> gen_server:reply(From, ok) end, maps:values(Waiting)),
    Lane#lane{waiting = #{}};
wake(Lane) ->
    Lane.
